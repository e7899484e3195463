"""One search over distillation, pruning and quantization, under budgets that are measured on the target.

knobs.py     what of a recipe can be varied, and how     budgets.py   what a candidate must keep
trial.py     one candidate in a process of its own       workers.py   several of them at once, within the time
study.py     which candidates are tried (Optuna)         front.py     what no other candidate beats; front.json, front.html
rounds.py    how long each is trained, and which ones    search.py    all of it
"""
