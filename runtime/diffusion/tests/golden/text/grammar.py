"""Writes `grammar.json`: what the web UI's own parser makes of prompts.

    pip install -r ../requirements.txt && python grammar.py WEBUI/modules/prompt_parser.py

The parser is taken from a checkout of the web UI and run as it is, once for each of 24 hash seeds of Python.
Prompts whose schedule changes with the seed are left out, as are those that make it fail.
"""

import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path

PIECES = {
    "schedule": ["a", "b", " ", "[", "]", "(", ")", ":", "|", "3", ".5", "\\", "\\:", "[a:b:2]", "[c::.75]", "[a|b]", "[|c]", "(c:1.2)", "[d]", "é\n"],
    "attention": ["a", "b ", "[", "]", "(", ")", ":", ":1.2)", ": -.5 )", "\\", "\\(", "\\]", "((", "]]", " BREAK ", "1", "é"],
    "compose": ["a", "b ", "AND", " AND ", ":", " : ", "1.5", "-.5", "+2.", "\n", "_", "(c:1.2)"],
}
COUNTS = {"schedule": 420, "attention": 220, "compose": 160}
DOCUMENTED = {
    "schedule": [
        "fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75][ in foreground::0.6][ in background:0.25] [shoddy:masterful:0.5]",
        "a [b:3]", "a [[[b]]:2]", "a[b:[c:d:2]:1]e", "((a][:b:c [d:3]", "[a|(b:1.1)]", "[fe|||]male", "a [b:1.5] c", "[a:b:7]",
    ],
    "attention": ["a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).", "(unbalanced", "\\(literal\\]", "(unnecessary)(parens)"],
    "compose": ["a cat :1.2 AND a dog AND a penguin :2.2", "12:30"],
}


def prompts(kind):
    rng = random.Random(kind)
    made = ["".join(rng.choice(PIECES[kind]) for _ in range(rng.randint(1, 11))) for _ in range(COUNTS[kind])]
    return list(dict.fromkeys(DOCUMENTED[kind] + made))


def answers(parser):
    out = {}
    for prompt in prompts("schedule"):
        for steps in ((4, None), (4, 6)):
            schedule = parser.get_learned_conditioning_prompt_schedules([prompt], *steps)[0]
            out[json.dumps(["schedule", prompt, *steps])] = schedule
    for prompt in prompts("attention"):
        try:
            pieces = parser.parse_prompt_attention(prompt)
        except ValueError:
            continue
        # BREAK in brackets loses its meaning there and not here.
        if not any(text == "BREAK" and weight != -1 for text, weight in pieces):
            out[json.dumps(["attention", prompt])] = pieces
    for prompt in prompts("compose"):
        indexes, texts, _ = parser.get_multicond_prompt_list([prompt])
        out[json.dumps(["compose", prompt])] = [[texts[i], weight] for i, weight in indexes[0]]
    return out


def load(path):
    spec = importlib.util.spec_from_file_location("prompt_parser", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(answers(load(sys.argv[1]))))
        sys.exit()
    runs = []
    for seed in range(24):
        done = subprocess.run([sys.executable, __file__, sys.argv[1], "once"], env=os.environ | {"PYTHONHASHSEED": str(seed)}, stdout=subprocess.PIPE, check=True)
        runs.append(json.loads(done.stdout))
    same = {key: value for key, value in runs[0].items() if all(run[key] == value for run in runs)}
    print(f"{len(same)} of {len(runs[0])} answers do not depend on the hash seed")
    lines = [json.dumps([*json.loads(key), value], ensure_ascii=False) for key, value in same.items()]
    (Path(__file__).parent / "grammar.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
