"""What happens around every call, outermost first: refuse, observe, errors, about, admit, auth,
limit.
"""
