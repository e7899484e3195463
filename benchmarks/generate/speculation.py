"""N-gram speculation over 50 mixed prompts, beside plain decoding and onnxruntime-genai: tokens per second behind the first.

python -m benchmarks.generate.speculation FOLDER --genai PYTHON FOLDER --tokens 96 --threads 1

Half of the prompts work on a text (copy, summarize, rewrite, extract, quote), half ask for code, lists, facts and stories. Each
prompt is answered in turn by all contenders, greedily; genai runs in a process of its own that waits meanwhile. What the cache
holds is forgotten before each answer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edgeopt.generate import Engine, Sampling, open_engine

TEXTS = """\
The lighthouse on the northern cape was built in 1871 by order of the harbour council. It is 34 metres high, painted in red and
white, and its lamp can be seen from 21 nautical miles away. Since 1986 it has worked without a keeper; a technician visits it
twice a year.

Bread needs four things: flour, water, salt and time. Mix 500 grams of flour with 350 grams of water and 10 grams of salt, add
a little yeast, and let the dough rest for twelve hours. Bake it in a hot oven for 45 minutes, the first 20 of them with a lid.

The city library opens at nine in the morning from Tuesday to Saturday and closes at six in the evening. Members may borrow up
to ten books for four weeks. A book that is late costs fifty cents a week. Children under twelve need no card of their own.

A heat pump moves heat from a cold place to a warm one. It takes energy from the air, the ground or water and raises its
temperature with a compressor. For each unit of electricity it gives three to four units of heat, so it costs less to run than
a boiler.

Anna Weber joined the company in March 2014 as an engineer. She led the team for sensors from 2017 to 2020 and has been head of
research since January 2021. She lives in Graz with her husband and two sons, and she speaks German, English and Slovene.
"""
TASKS = (
    "Repeat this text word for word:\n\n{}",
    "Summarize this text in two sentences:\n\n{}",
    "Write this text again with every number spelled out:\n\n{}",
    "List the facts of this text as JSON:\n\n{}",
    "Answer with a sentence from the text. What is it about?\n\n{}",
)
FREE = """\
Write a Python function that returns the n-th Fibonacci number.
Write a Python class for a stack with push, pop and peek.
Write a SQL query that lists all customers and their orders.
Write an HTML page with a table of three rows and three columns.
Write a bash loop that renames all .txt files to .md.
List the numbers from 1 to 40, separated by commas.
Write a multiplication table for 7.
Write the alphabet, one letter a line.
List the months of the year with their days.
Count down from 30 to 1.
What is the capital of France, and what is it known for?
Why is the sky blue?
Explain photosynthesis to a child.
How does a bicycle stay upright?
What are the causes of the First World War?
Write a short story about a fox and a clock.
Write a poem about the sea.
Write an email to a landlord about a broken heater.
Give me a recipe for tomato soup.
Describe a day in the life of a baker.
Give five tips for better sleep.
Compare cats and dogs as pets.
Plan a weekend in Vienna.
Explain the rules of chess.
What should I think of before I buy a used car?
""".splitlines()
_PROGRAM = Path(__file__).parent / "programs" / "genai_prompts.py"


class Genai:
    """onnxruntime-genai in a process of its own, which answers one prompt after the other."""

    def __init__(self, python: str, folder: str, threads: int) -> None:
        command = [python, str(_PROGRAM), folder, str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def answer(self, prompt: Sequence[int], tokens: int) -> tuple[list[int], float]:
        """Return the tokens, and the seconds from the first to the last."""
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the process has no pipes")
        process.stdin.write(json.dumps({"prompt": list(prompt), "tokens": tokens}) + "\n")
        process.stdin.flush()
        found = json.loads(process.stdout.readline())
        return found["tokens"], found["seconds"]

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(10)


def ours(engine: Engine, prompt: Sequence[int], tokens: int, *, speculate: bool) -> tuple[list[int], float]:
    """Return the tokens, and the seconds from the first to the last."""
    engine.generate([0], Sampling(max_tokens=1))  # so that the next prompt is read whole, as by the others
    answer = engine.generate(prompt, Sampling(max_tokens=tokens), speculate=speculate)
    return list(answer.tokens), answer.decode_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate.speculation", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--genai", nargs=2, metavar=("PYTHON", "FOLDER"))
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    engine = open_engine(options.folder, threads=options.threads)
    peer = Genai(*options.genai, options.threads) if options.genai else None
    sources = [" ".join(text.split()) for text in TEXTS.split("\n\n")]
    texts = [task.format(source) for task in TASKS for source in sources] + FREE
    made, seconds, same = Counter[tuple[str, str]](), Counter[tuple[str, str]](), 0
    for place, text in enumerate(texts):
        prompt = engine.prompt([{"role": "user", "content": text}])
        answers = {
            "plain": ours(engine, prompt, options.tokens, speculate=False),
            "speculated": ours(engine, prompt, options.tokens, speculate=True),
        }
        if peer is not None:
            answers["genai"] = peer.answer(prompt, options.tokens)
        same += answers["plain"][0] == answers["speculated"][0]
        kinds = ["all", "work on a text" if place < len(texts) - len(FREE) else "free"]
        kinds += ["copies"] if place < len(sources) else []
        for name, (tokens, took) in answers.items():
            for kind in kinds:
                made[kind, name] += len(tokens) - 1
                seconds[kind, name] += took
    if peer is not None:
        peer.close()
    names = list(dict.fromkeys(name for _, name in made))
    print(f"| {options.threads} thread(s), {len(texts)} prompts, up to {options.tokens} tokens | {' | '.join(names)} |")
    print("|" + "---|" * (len(names) + 1))
    for kind in dict.fromkeys(kind for kind, _ in made):
        rates = [f"{made[kind, name] / seconds[kind, name]:.1f}" for name in names]
        print(f"| {kind}, tokens/s | {' | '.join(rates)} |")
    print(f"\n{same} of {len(texts)} speculated answers have the tokens of the plain ones")


if __name__ == "__main__":
    main()
