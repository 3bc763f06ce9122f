"""What happens around every call, outermost first: observe, errors, admit, auth."""
