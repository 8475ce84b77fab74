from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.errors import DataError
from core.evaluation.mt_bench.answers import answer_batch, answer_by_endpoint
from core.evaluation.mt_bench.benchmark import TEMPERATURES, WITH_REFERENCE, Benchmark, Question, rating, read_benchmark
from core.evaluation.mt_bench.endpoint import Endpoint
from core.evaluation.mt_bench.judging import judge
from core.evaluation.mt_bench.lines import KeptLines
from core.evaluation.mt_bench.scores import cost, samples, score_rows, scores
from tests.evaluation.chat_server import ChatServer, Reply, chat_tokenizer, completion, judging_model, random_model

WRITE = Question(1, "writing", ("Write {this}.", "Shorter."), ())
ADD = Question(2, "math", ("1 + 1?", "And 1 more?"), ("2", "3"))
HELLO = Question("h", "roleplay", ("Hello.",), ())


@pytest.fixture
def published(shared_data: Path) -> Path:
    """FastChat's own files."""
    return shared_data / "mt_bench"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return chat_tokenizer()


def prompts(*names: str) -> dict[str, tuple[str, str]]:
    asked = {False: "{question} {answer}", True: "{question_2} {answer_2}"}
    return {name: (f"system of {name}", asked[name.endswith("turn")]) for name in names}


BENCHMARK = Benchmark(
    (WRITE, ADD, HELLO),
    prompts("single-v1", "single-v1-multi-turn", "single-math-v1", "single-math-v1-multi-turn"),
)
ANSWERS = {1: ("a", "b"), 2: ("2", "3"), "h": ("Hi.",)}


@pytest.mark.parametrize(
    ("judgment", "value"),
    [
        ("It is fine. Rating: [[7]]", 7),
        ("Rating: [[7.5]] though [[9]] was near", 7.5),
        ("as in [3], so [[8]]", 8),
        ("Rating: [6]", 6),
        ("Rating: [6.]", 6),
        ("Rating: 6/10", -1),
        ("[[rating]]", -1),
        ("[[ 7 ]] or [-7]", -1),
        ("", -1),
        ("Rating: [[11]]", -1),
        ("the list a[0] is empty", -1),
        ("[[10]]", 10),
    ],
)
def test_a_rating_is_the_first_in_double_brackets_else_in_single_ones_on_the_scale(judgment, value):
    assert rating(judgment) == value


def test_published_questions_prompts_and_references_are_read(published):
    benchmark = read_benchmark(published)
    assert len(benchmark.questions) == 80
    assert all(len(question.turns) == 2 for question in benchmark.questions)
    assert {question.category for question in benchmark.questions} == set(TEMPERATURES)
    with_reference = [question for question in benchmark.questions if question.references]
    assert len(with_reference) == 30
    assert {question.category for question in with_reference} == set(WITH_REFERENCE)
    assert len(read_benchmark(published, 3).questions) == 3


def test_the_judge_is_asked_by_the_published_prompts(published):
    benchmark = read_benchmark(published)
    lines = (published / "judge_prompts.jsonl").read_text().splitlines()
    written = {row["name"]: row for row in map(json.loads, lines)}
    for question in (benchmark.questions[0], next(each for each in benchmark.questions if each.category == "math")):
        math_v1 = "math-v1" if question.references else "v1"
        for turn, name in ((1, f"single-{math_v1}"), (2, f"single-{math_v1}-multi-turn")):
            system, user = benchmark.judge_messages(question, ["First {answer}.", "Second."][:turn], turn)
            assert system == {"role": "system", "content": written[name]["system_prompt"]}
            text = written[name]["prompt_template"]
            for place, value in {
                "question": question.turns[0], "answer": "First {answer}.",
                "question_1": question.turns[0], "question_2": question.turns[1],
                "answer_1": "First {answer}.", "answer_2": "Second.",
                "ref_answer_1": (*question.references, "")[0], "ref_answer_2": (*question.references, "", "")[1],
            }.items():  # fmt: skip
                text = text.replace(f"{{{place}}}", f"\0{value}\0")
            assert user["content"] == text.replace("\0", "")


def test_the_published_files_own_example_is_rated(published):
    """Each prompt shows the judge what a rating looks like."""
    for line in (published / "judge_prompts.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["type"] == "single":
            assert rating(row["prompt_template"] + row["system_prompt"]) == 5


def test_questions_of_one_turn_are_judged_once(published, tmp_path):
    shutil.copytree(published / "vicuna_bench", tmp_path, dirs_exist_ok=True)
    shutil.copy(published / "judge_prompts.jsonl", tmp_path)
    benchmark = read_benchmark(tmp_path)
    assert len(benchmark.questions) == 80
    assert set(benchmark.prompts) == {"single-v1", "single-math-v1"}
    coding = next(question for question in benchmark.questions if question.category == "coding")
    assert coding.references[0] in benchmark.judge_messages(coding, ["x"], 1)[1]["content"]


GOOD = {
    "question.jsonl": [{"question_id": 1, "category": "math", "turns": ["1 + 1?", "More?"]}],
    "judge_prompts.jsonl": [
        {"name": f"single-math-v1{form}", "system_prompt": "", "prompt_template": "{ref_answer_1}"}
        for form in ("", "-multi-turn")
    ],
    "reference_answer/gpt-4.jsonl": [{"question_id": 1, "choices": [{"turns": ["2", "3"]}]}],
}


def data(directory: Path, **changed: Any) -> Path:
    """GOOD as files, but for what is changed: rows, or text as it is."""
    for name, rows in GOOD.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = changed.get(path.stem.replace("-", "_"), rows)
        path.write_text(rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows))
    return directory


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"question": "{\n"}, "question.jsonl:1: not valid JSON"),
        ({"question": "\n[]\n"}, "question.jsonl:2: found list, expected an object"),
        ({"question": ""}, "question.jsonl: no questions"),
        ({"question": [{"question_id": 1, "turns": ["a"]}]}, ":1: category is NoneType, expected str"),
        ({"question": [{"question_id": 1, "category": "c", "turns": []}]}, ":1: turns: found [], expected one or two"),
        ({"question": GOOD["question.jsonl"] * 2}, ":2: a second question 1"),
        ({"judge_prompts": GOOD["judge_prompts.jsonl"][:1]}, "no prompt single-math-v1-multi-turn"),
        ({"judge_prompts": [{**GOOD["judge_prompts.jsonl"][0], "prompt_template": "{x}"}]}, ":1: prompt_template of"),
        ({"gpt_4": ""}, "found 0 reference answers to question 1 (math), expected 2"),
        ({"gpt_4": [{"question_id": 1, "choices": [{"turns": ["2"]}]}]}, "found 1 reference answers"),
        ({"gpt_4": [{"question_id": 1, "choices": []}]}, "gpt-4.jsonl:1: choices[0].turns: found None"),
    ],
)
def test_wrong_files_are_told_with_their_place(tmp_path, changed, said):
    read_benchmark(data(tmp_path / "good"))
    with pytest.raises(DataError) as raised:
        read_benchmark(data(tmp_path, **changed))
    assert said in str(raised.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    (data(tmp_path) / "reference_answer" / "gpt-4.jsonl").unlink()
    with pytest.raises(DataError, match=r"gpt-4.jsonl: cannot be read \(No such file"):
        read_benchmark(tmp_path)


def test_a_model_answers_alike_alone_and_in_a_batch(tokenizer):
    model = random_model(tokenizer)
    together = answer_batch(model, tokenizer, [WRITE, ADD, HELLO], seed=3, max_new_tokens=12)
    alone = [answer_batch(model, tokenizer, [each], seed=3, max_new_tokens=12)[0] for each in (WRITE, ADD, HELLO)]
    assert together == alone
    assert [len(answer.turns) for answer in together] == [2, 2, 1]
    other = answer_batch(model, tokenizer, [WRITE, ADD], seed=4, max_new_tokens=12)
    assert other[0].turns != together[0].turns  # drawn
    assert other[1].turns == together[1].turns  # greedy
    assert together[1].turns[0] in tokenizer.decode(greedy(model, tokenizer, "1 + 1?"), skip_special_tokens=True)


def greedy(model: Any, tokenizer: Any, words: str) -> Any:
    turns = [{"role": "user", "content": words}]
    asked = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=False)
    return model.generate(asked, max_new_tokens=12, do_sample=False)[0, asked.shape[1] :]


def test_draws_follow_the_models_distribution_at_the_temperature(tokenizer):
    import torch

    from core.evaluation.mt_bench.answers import _Drawn

    scores = torch.tensor([[0.0, 1.0, -1.0]])
    counts = torch.zeros(3)
    draw = _Drawn([(0.7, 5)], torch.device("cpu"))
    for _ in range(4000):
        counts[draw(torch.zeros(1, 1), scores).argmax()] += 1
    assert torch.allclose(counts / 4000, torch.softmax(scores[0] / 0.7, 0), atol=0.03)


def test_an_answer_ends_with_the_turn_and_one_cut_off_is_marked(tokenizer):
    [answer] = answer_batch(judging_model(tokenizer), tokenizer, [ADD], seed=1, max_new_tokens=8)
    assert answer.turns == ("[[7]]", "[[7]]")
    assert answer.finish_reasons == ("stop", "stop")
    assert answer.completion_tokens == 2 * 4  # [[ 7 ]] and the end
    [answer] = answer_batch(judging_model(tokenizer), tokenizer, [ADD], seed=1, max_new_tokens=2)
    assert (answer.turns[0], answer.finish_reasons[0]) == ("[[7", "length")


def test_a_dialogue_that_fills_the_model_is_answered_as_far_as_there_is_room(tokenizer):
    long = Question(3, "math", ("1 " * 40, "more " * 100), ("", ""))
    first = len(tokenizer.apply_chat_template([{"role": "user", "content": long.turns[0]}], tokenize=False))
    model = random_model(tokenizer, max_position_embeddings=first)
    answers = answer_batch(model, tokenizer, [HELLO, long], seed=1, max_new_tokens=first - 60)
    assert answers[0] == answer_batch(model, tokenizer, [HELLO], seed=1, max_new_tokens=first - 60)[0]
    assert answers[1].turns[1] == ""
    assert answers[1].finish_reasons == ("length", "no room")


def test_a_model_without_a_chat_template_is_refused(tokenizer):
    bare = chat_tokenizer()
    bare.chat_template = None
    with pytest.raises(DataError, match="no chat template"):
        answer_batch(random_model(bare), bare, [ADD], seed=1, max_new_tokens=4)
    bare.chat_template = "{{ raise_exception('never') }}"
    with pytest.raises(DataError, match="refuses a dialogue \\(never\\)"):
        answer_batch(random_model(bare), bare, [ADD], seed=1, max_new_tokens=4)


def test_an_endpoint_is_asked_turn_by_turn_at_the_published_temperature():
    with ChatServer(
        lambda number, body: completion(f"answer {number}", prompt_tokens=5, completion_tokens=2)
    ) as server:
        endpoint = Endpoint(server.url, "mine", "NO_KEY")
        drawn = answer_by_endpoint(endpoint, WRITE, 1, 1024)
        answer_by_endpoint(endpoint, ADD, 1, 1024)
    assert (drawn.turns, drawn.prompt_tokens, drawn.completion_tokens) == (("answer 0", "answer 1"), 10, 4)
    first, second, greedy_one, _ = server.requests
    assert second["messages"] == [
        {"role": "user", "content": "Write {this}."},
        {"role": "assistant", "content": "answer 0"},
        {"role": "user", "content": "Shorter."},
    ]
    assert [each["temperature"] for each in server.requests] == [0.7, 0.7, 0.0, 0.0]
    assert first["max_tokens"] == 1024
    assert first["seed"] != second["seed"]
    assert "seed" not in greedy_one


def judged(path: Path, url: str, answers: dict[Any, Any] = ANSWERS, concurrency: int = 2) -> list[dict[str, Any]]:
    endpoint = Endpoint(url, "judge", "NO_KEY", retries=0)
    return list(judge(BENCHMARK, answers, endpoint, KeptLines(path), "mine", 2048, concurrency))


def test_what_was_judged_before_a_failure_is_not_asked_for_again(tmp_path):
    path = tmp_path / "judgments.jsonl"
    with ChatServer(lambda number, body: Reply("", 500) if number == 3 else completion("[[4]]")) as server:
        with pytest.raises(Exception, match="answered 500"):
            judged(path, server.url, concurrency=1)
        kept = path.read_bytes()
        assert kept.count(b"\n") == 3
        path.write_bytes(kept + b'{"key": "cut o')  # as a kill leaves it
        rows = judged(path, server.url)
        assert sorted(row["new"] for row in rows) == [False] * 3 + [True] * 2
        assert len(server.requests) == 3 + 1 + 2
        assert all("new" not in json.loads(line) for line in path.read_text().splitlines())
        assert [row["new"] for row in judged(path, server.url)] == [False] * 5
        judged(path, server.url, {**ANSWERS, 1: ("a", "other")})
        assert len(server.requests) == 6 + 1  # the other answer's
        assert {request["temperature"] for request in server.requests} == {0}


def test_no_more_than_the_allowed_requests_are_under_way(tmp_path):
    answered = completion("[[4]]")
    with ChatServer(lambda number, body: Reply(answered.body, seconds=0.1)) as server:
        judged(tmp_path / "judgments.jsonl", server.url, concurrency=2)
    assert server.at_once == 2


def test_a_line_that_was_not_kept_here_is_told(tmp_path):
    (tmp_path / "judgments.jsonl").write_text('{"key": "a"}\n{}\n')
    with pytest.raises(DataError, match=r"judgments.jsonl:2: not a line that was kept here"):
        KeptLines(tmp_path / "judgments.jsonl")


def judgment(question: int | str, turn: int, score: float, tokens: int | None = 100) -> dict[str, Any]:
    return {"question_id": question, "turn": turn, "score": score, "prompt_tokens": tokens, "completion_tokens": tokens}


def test_scores_by_hand_with_errors_clustered_by_question():
    rows = [judgment(1, 1, 8), judgment(1, 2, 6), judgment(2, 1, 3), judgment(2, 2, -1), judgment("h", 1, 5)]
    found = scores(BENCHMARK, rows)
    assert (found["score"], found["rated"], found["unrated"]) == (5.5, 4, 1)
    clusters = [8 - 5.5 + 6 - 5.5, 3 - 5.5, 5 - 5.5]
    error = math.sqrt(3 / 2 * sum(each**2 for each in clusters)) / 4
    assert found["stderr"] == pytest.approx(error)
    assert found["high"] == pytest.approx(5.5 + 1.96 * error, abs=1e-3)
    first, second = found["turns"]
    assert (first["score"], first["unrated"]) == (pytest.approx(16 / 3), 0)
    assert first["stderr"] == pytest.approx(math.sqrt(19 / 3 / 3))  # the usual error of 8, 3 and 5
    assert (second["score"], second["stderr"], second["unrated"]) == (6, None, 1)
    categories = {each["category"]: each for each in found["categories"]}
    assert (categories["math"]["score"], categories["math"]["turns"][1]["score"]) == (3, None)
    assert [row["metric"] for row in score_rows(found)] == ["rating", "rating_turn_1", "rating_turn_2"]
    assert [(row["value"], row["samples"]) for row in score_rows(found)] == [(5.5, 4), (16 / 3, 3), (6, 1)]


def test_a_judge_that_rates_nothing_gives_no_score():
    found = scores(BENCHMARK, [judgment(1, 1, -1), judgment(1, 2, -1)])
    assert (found["score"], found["rated"], found["unrated"]) == (None, 0, 2)
    assert score_rows(found) == []


def test_cost_by_hand():
    rows = [judgment(1, 1, 8, 1500), judgment(1, 2, 6, 500), judgment(2, 1, 3, None)]
    assert cost(rows, 30, 60) == {
        "prompt_tokens": 2000, "completion_tokens": 2000, "not_counted": 1, "money": pytest.approx(0.18)
    }  # fmt: skip
    assert cost(rows, 30, None)["money"] is None


def test_models_are_compared_on_the_mean_of_each_questions_turns(tmp_path):
    from core.evaluation.paired import compare_samples

    paths = []
    for number, of in enumerate(([8, 6, 3, -1, 5], [9, 9, -1, -1, 6])):
        places = [(1, 1), (1, 2), (2, 1), (2, 2), ("h", 1)]
        judged = [judgment(*place, score) for place, score in zip(places, of, strict=True)]
        turns = {question.id: ["one", "other"] for question in BENCHMARK.questions}
        found = samples(BENCHMARK.questions, turns, judged)
        assert {row["filtered_resps"][0] for row in found} == {"one\n\nother"}
        paths.append(tmp_path / f"{number}.jsonl")
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in found))
    [row] = compare_samples(*paths, seed=1)
    assert (row["metric"], row["samples"], row["difference"]) == ("rating", 2, ((9 - 7) + (6 - 5)) / 2)
