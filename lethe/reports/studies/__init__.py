"""The search for the best settings: what each study tried, and what moved its value."""
