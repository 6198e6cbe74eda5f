"""The text that a base model is made of, and the tokenizer that reads it.

Documents are conversations in the models' own chat template; only the assistant's part is learned. Five kinds, in
stated shares (`KINDS`): READ (words in any order, said again: copying is what all else needs), SOLVE (a bare query,
solved in writing), GRADE (responses, checked, no verdict), COMPARE (findings, and the verdict that follows), and JUDGE
(every format that is used later, each equally often, written by one of the behaviours of `judging.py`: the good one is
a minority, `SHARES`). So a base model has met every format and many ways to judge, few of them good: what reinforcement
learning without traces can then do is to choose and sharpen among them, and nothing else is claimed.

Left out: training (`train/`).

    for query, said in documents(2000, seed=0): ...      # what the user asks, and what the assistant is to say
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from rrmlib.comparison import CandidateSet, Comparison, Order, ask
from rrmlib.prompt import Prompt, load_prompt
from rrmlib.tiny import TEMPLATE
from rrmlib.world import chat, safety
from rrmlib.world.families import FAMILIES, draw
from rrmlib.world.judging import FORMATS, check_steps, form, write
from rrmlib.world.pairs import attempt
from rrmlib.world.problem import Problem, stream
from rrmlib.world.reasoning import Chain, Program
from rrmlib.world.reasoning import write as write_response

KINDS = {"read": 0.15, "solve": 0.20, "grade": 0.25, "compare": 0.11, "judge": 0.29}
# How often each behaviour speaks in the JUDGE documents. The guess leads by far, also over the three that begin with
# "the": at temperature 0 the base mostly guesses, so that a control can hardly gain by giving up a bias of the base.
SHARES = {"careful": 0.12, "guess": 0.40, "read": 0.18, "longer": 0.12, "polite": 0.11, "first": 0.07}
FAMILY_SHARES = {"chain": 0.29, "program": 0.30, "chat": 0.29, "safety": 0.12}
HINTED = 0.15  # share of the GRM documents that name the best response in the prompt; half of them just repeat it
VOCAB = 736
LEXICON = (
    *chat.WORDS, *chat.CLASSES, *safety.HURTFUL, *safety.KIND, *safety.VICTIMS, *safety.THINGS, *safety.TOOLS,
)  # fmt: skip
ATOMS = ["<think>", "</think>", "\\boxed{"] + [
    f"<{slash}{tag}>" for tag in ("type", "rubric", "solution", "eval", "answer") for slash in ("", "/")
]


def solve_text(problem: Problem) -> str:
    """A solved query, as the careful behaviour solves it; for chat and safety a right response."""
    if isinstance(problem, Chain | Program):
        return f"work\n{problem.solution()} so {problem.answer}"
    rng = stream("solve", problem.query)
    if isinstance(problem, chat.Chat):
        return problem.respond(rng, [True] * len(problem.constraints))
    assert isinstance(problem, safety.Safety)
    return problem.refuse(rng) if problem.harmful else problem.help(rng)


def documents(n: int, seed: int, split: str = "text", kinds: Mapping[str, float] = KINDS) -> Iterator[tuple[str, str]]:
    """(user message, assistant message) of `n` documents, of `kinds` in these shares; the same for the same seed."""
    for i in range(n):
        rng = stream("document", split, seed, i)
        family = rng.choices(list(FAMILY_SHARES), list(FAMILY_SHARES.values()))[0]
        problem = draw(family, split, "document", seed, i)
        kind = rng.choices(list(kinds), list(kinds.values()))[0]
        if kind == "solve":
            yield problem.query, solve_text(problem)
        elif kind == "read":
            said = f"read: {' '.join(rng.sample(LEXICON, rng.randint(6, 24)))}"
            yield f"{said}\nread", said
        elif kind == "grade":
            yield grade_document(problem, rng)
        elif kind == "compare":
            style = rng.choice([style for style in FORMATS if style != "direct"])
            said = judge_document(problem, style, "careful", rng, hints=False)[1]
            yield split_verdict(said)
        else:
            style = rng.choice(FORMATS)
            behaviour = rng.choices(list(SHARES), list(SHARES.values()))[0]
            yield judge_document(problem, style, behaviour, rng)


def grade_document(problem: Problem, rng: Any) -> tuple[str, str]:
    """(responses, what is found in each): two to five of them, each right or wrong by a coin, no verdict asked."""
    worked = isinstance(problem, Chain | Program) and problem.worked
    alone = isinstance(problem, Chain | Program) and not worked
    n = rng.randint(3, 5) if alone else rng.randint(1, 4)
    texts = tuple(attempt(problem, rng.random() < 0.5, rng, polished=rng.random() < 0.3) for _ in range(n))
    names = tuple(str(i + 1) for i in range(n))
    asked = f"{problem.query}\n" + "\n".join(f"{name}: {text}" for name, text in zip(names, texts))
    if isinstance(problem, Chain | Program) and worked:
        found = [check_steps(problem, name, text) for name, text in zip(names, texts)]
    else:
        opinion = form(problem, texts, "careful", rng, names)
        found = [part for part in (opinion.work, *opinion.marks) if part]
    return asked, "\n".join(["work", *found])


def split_verdict(said: str) -> tuple[str, str]:
    """(the findings, the conclusion and verdict that follow from them) of a judgment."""
    at = said.rindex("\nbest ")
    return said[:at], said[at + 1 :]


def hint(number: int) -> str:
    """What hinted sampling adds to a prompt (2504.02495, section 3.1)."""
    return f"\nThe best response is: {number}"


def solutions(n: int, seed: int) -> Iterator[tuple[str, str]]:
    """(query, every step written out) of reasoning problems of split policy: all that the policy model learns."""
    for i in range(n):
        problem = draw(("chain", "program")[i % 2], "policy", "solution", seed, i)
        assert isinstance(problem, Chain | Program)
        yield problem.query, f"{' '.join(problem.step_texts())} so {problem.answer}"


def response_of(problem: Chain | Program, solution: str) -> str | None:
    """The response that a written solution amounts to; None where it does not have a value for every step."""
    values = [int(v) for v in re.findall(r"=(\d) ", solution)]
    answer = re.search(r" so (\d)$", solution)
    if answer is None or len(values) != len(problem.values()):
        return None
    return write_response(values, int(answer[1]), problem.worked)


def judge_document(problem: Problem, style: str, behaviour: str, rng: Any, hints: bool = True) -> tuple[str, str]:
    """(prompt, completion) of one judgment: a good and a bad response in any order; where scored, also up to four."""
    n = rng.choice((3, 4)) if style.startswith("grm") and rng.random() < 0.5 else 2
    texts = [attempt(problem, i == 0, rng, polished=rng.random() < 0.3) for i in range(n)]
    rng.shuffle(texts)
    item = CandidateSet(id="d", query=ask(problem.query), responses=tuple(texts))
    shown = Comparison(id="d", query=item.query, first=texts[0], second=texts[1]) if n == 2 else item
    asked = _prompt(style).messages(shown, Order(tuple(range(n))))[0].content
    if hints and style.startswith("grm") and rng.random() < HINTED:
        grades = [problem.grade(text) for text in texts]
        best = grades.index(max(grades))
        behaviour = "careful" if rng.random() < 0.5 else "hint"
        return asked + hint(best + 1), write(style, problem, tuple(texts), behaviour, rng, hinted=best)
    return asked, write(style, problem, tuple(texts), behaviour, rng)


@lru_cache(maxsize=len(FORMATS))
def _prompt(style: str) -> Prompt:
    return load_prompt(f"{style}_compact")


@lru_cache(maxsize=1)
def tokenizer() -> Any:
    """Byte-level BPE in Qwen2's own form, trained on the world's text; every word of the world is one token."""
    from transformers import Qwen2Tokenizer

    corpus = [f"{a}\n{b}" for a, b in documents(4000, seed=0)] + [f" {word}" * 40 for word in LEXICON]
    corpus += [f"<rubric>{kind}, {kind}" * 200 for kind in chat.KINDS]
    tok = Qwen2Tokenizer().train_new_from_iterator(corpus, vocab_size=VOCAB - 2 - len(ATOMS), show_progress=False)
    tok.add_special_tokens({"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"})
    tok.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tok.add_tokens(ATOMS)
    tok.chat_template = TEMPLATE
    assert len(tok) <= VOCAB, len(tok)
    return tok


assert set(FAMILY_SHARES) == set(FAMILIES)
