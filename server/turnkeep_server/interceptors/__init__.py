"""What happens around every call, outermost first: observe, errors, about, admit, auth."""
