"""Verdicts: rules over figures, pass, fail or undecided.

- `budget`: what a budget says, and whether a figure meets it
- `sequential`: budgets judged while samples come in
- `accuracy_drop`: accuracy that is lost, on the same samples
- `run`: the verdict on a whole run, "never worse" included; here a missed budget fails it
- `exit_code`: what the verdict means for a script
"""
