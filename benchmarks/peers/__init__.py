"""What Turnkeep is measured against: its RPCs over stock LangChain, and over the bare parts."""
