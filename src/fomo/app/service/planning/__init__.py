"""The page of a plan: what to do, how sure that is, and what it rests on, for an engineer and a colleague."""
