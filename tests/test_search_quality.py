"""`benchmarks/search_quality.py` replays searches on a table as they would have gone, and counts what they cost."""

import importlib
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


def load(name: str) -> Any:
    return importlib.import_module(name)


def made_up_table(n_configurations: int = 32, n_tasks: int = 2) -> Any:
    """Return a table of smooth curves, whose best learning rate differs from task to task."""
    tasks, table = load("ft_tasks"), load("ft_table")
    configurations = [tasks.BASELINE, *tasks.draw_configurations(n_configurations)]
    plan = {
        "tasks": [f"made{n}" for n in range(n_tasks)],
        "search_space": tasks.SEARCH_SPACE,
        "configurations": configurations,
        "evaluations_per_epoch": tasks.EVALUATIONS_PER_EPOCH,
    }
    runs = [
        {"task": task, "configuration": number, "seed": seed, "seconds": 1.0, "evaluations": curve, "row_losses": [1.0]}
        for n, task in enumerate(plan["tasks"])
        for number, one in enumerate(configurations)
        for seed in ((0, 1, 2) if number < 2 else (0,))
        for curve in [made_up_curve(one, best_rate=10 ** (-4 + 0.3 * n), seed=seed)]
    ]
    return table.Table.of_runs(plan, runs)


def made_up_curve(one: dict[str, Any], best_rate: float, seed: int) -> list[list[float]]:
    off = math.log10(one["learning_rate"] / best_rate) ** 2
    floor = 0.3 + 0.4 * off + 0.03 * one["frozen_layers"] + 0.2 * one["dropout"] + 0.01 * seed
    losses = [floor + math.exp(-step / (4 + 8 * off)) for step in range(1, 4 * one["epochs"] + 1)]
    return [[loss, loss, 0.5] for loss in losses]


def made_up_task() -> Any:
    return load("replay.task").ReplayTask.of_table(made_up_table(), "made0")


def test_a_configuration_of_the_table_trains_by_its_own_curve_and_others_by_the_nearest_of_their_length() -> None:
    task = made_up_task()
    for row, one in enumerate(task.configurations):
        assert task.curve(one) == task.losses_NE[row, : 4 * one["epochs"]].tolist()
    near = task.configurations[5] | {"learning_rate": 1.02 * task.configurations[5]["learning_rate"]}
    assert task.curve(near) == task.curve(task.configurations[5])
    for epochs in (3, 6, 12):
        assert len(task.curve(near | {"epochs": epochs})) == 4 * epochs


def test_the_target_is_reached_by_its_share_of_the_configurations() -> None:
    task = made_up_task()
    assert (task.best_N <= task.target(0.25)).sum() == int(0.25 * len(task.best_N))


def test_a_portfolio_has_what_is_best_together_and_not_the_second_best_of_one_task() -> None:
    replay = load("replay.task")
    tasks = [replay.ReplayTask.of_table(made_up_table(n_tasks=2), name) for name in ("made0", "made1")]
    both = replay.portfolio(tasks, 2, {})
    best = [task.configurations[int(task.best_N.argmin())] for task in tasks]
    assert best[0] != best[1]
    assert all(one in both for one in best)
    assert {one["epochs"] for one in replay.portfolio(tasks, 3, {"epochs": 6})} == {6}


class Scripted:
    """Trials that are given, and an answer to each report of them."""

    def __init__(self, simulate: Any, works: list[Any], answers: dict[tuple[str, int], str]) -> None:
        self.works = [simulate.Work(*work) for work in works]
        self.answers = answers
        self.asked: list[tuple[int, float]] = []
        self.seen: list[tuple[str, int, float]] = []
        self.ended: list[tuple[str, bool]] = []

    def ask(self, worker: int, now: float) -> Any:
        self.asked.append((worker, round(now, 6)))
        return self.works.pop(0) if self.works else None

    def report(self, trial: Any, step: int, value: float, now: float, *, is_last: bool) -> Any:
        self.seen.append((trial, step, round(now, 6)))
        return self.answers.get((trial, step), "go on")

    def end(self, trial: Any, now: float, *, diverged: bool) -> None:
        self.ended.append((trial, diverged))


def test_time_passes_for_starts_steps_and_pauses() -> None:
    simulate, task = load("replay.simulate"), made_up_task()
    short = next(one for one in task.configurations if one["epochs"] == 3)
    works = [("a", short), ("b", short), ("a", short, 2)]
    method = Scripted(simulate, works, {("a", 2): "pause", ("b", 1): "stop"})
    costs = simulate.Costs(start=1.0, save=0.25, load=0.5)
    found = simulate.simulate(task, method, workers=1, budget=99.0, target=-1.0, costs=costs)
    step = 1 / task.longest
    assert [(trial, nth) for trial, nth, _ in method.seen] == [("a", 1), ("a", 2), ("b", 1)] + [
        ("a", nth) for nth in range(3, 13)
    ]
    assert method.seen[1][2] == pytest.approx(1 + 2 * step, abs=1e-5)
    assert method.seen[2][2] == pytest.approx(1 + 2 * step + 0.25 + 1 + step, abs=1e-5)
    assert found.cost == pytest.approx(3 * 1 + 0.25 + 0.5 + 13 * step)
    assert (found.reached, found.n_trials, method.ended) == (False, 2, [("a", False)])


def test_a_search_ends_with_the_first_value_that_is_good_enough_or_with_its_budget() -> None:
    simulate, task = load("replay.simulate"), made_up_task()
    costs = simulate.Costs(start=0.0, save=0.0, load=0.0)
    one = task.configurations[1]
    target = task.curve(one)[1]
    found = simulate.simulate(
        task, Scripted(simulate, [("a", one)], {}), workers=2, budget=9, target=target, costs=costs
    )
    assert found.reached
    assert found.cost == pytest.approx(2 * 2 / task.longest)  # the second worker is paid, too
    many = Scripted(simulate, [(nth, one) for nth in range(99)], {})
    found = simulate.simulate(task, many, workers=2, budget=0.5, target=-1, costs=costs)
    assert (found.reached, found.cost) == (False, 0.5)


def test_the_answer_of_a_study_is_no_trial_that_was_stopped_however_well_it_began() -> None:
    simulate, task = load("replay.simulate"), made_up_task()
    short = [row for row, one in enumerate(task.configurations) if one["epochs"] == 3][:2]
    task.losses_NE[short[1], 0] = 0.001
    works = [(name, task.configurations[row]) for name, row in zip("ab", short, strict=True)][::-1]
    costs = simulate.Costs(start=0.0, save=0.0, load=0.0)
    method = Scripted(simulate, works, {("b", 1): "stop"})
    found = simulate.simulate(task, method, workers=1, budget=math.inf, target=-1, costs=costs)
    assert (found.best, found.best_complete) == (0.001, task.best_N[short[0]])


def test_who_found_nothing_to_do_is_asked_again_after_the_next_report() -> None:
    simulate, task = load("replay.simulate"), made_up_task()
    method = Scripted(simulate, [("a", task.configurations[1])], {("a", 1): "stop"})
    costs = simulate.Costs(start=0.0, save=0.0, load=0.0)
    simulate.simulate(task, method, workers=2, budget=9, target=-1, costs=costs)
    step = round(1 / task.longest, 6)
    assert sorted(method.asked) == [(0, 0.0), (0, step), (1, 0.0), (1, step)]


def test_a_trial_diverges_where_its_curve_breaks_off() -> None:
    simulate, task = load("replay.simulate"), made_up_task()
    task.losses_NE[1, 2:] = math.nan
    method = Scripted(simulate, [("a", task.configurations[1])], {})
    costs = simulate.Costs(start=0.0, save=0.0, load=0.0)
    found = simulate.simulate(task, method, workers=1, budget=9, target=-1, costs=costs)
    assert (len(method.seen), method.ended) == (2, [("a", True)])
    assert found.cost == pytest.approx(3 / task.longest)


@pytest.mark.parametrize("has_model", [False, True])
def test_halving_promotes_at_most_one_of_eta_from_a_rung_and_resumes_the_best(has_model: bool) -> None:
    simulate, task = load("replay.simulate"), made_up_task()
    method = load("replay.halving").ResumingHalving(
        task.search_space,
        {"epochs": 12},
        longest=48,
        first_rung=3,
        eta=4,
        n_brackets=1,
        has_model=has_model,
        first=[],
        seed=1,
    )
    begun: dict[Any, int] = {}
    resumed: dict[int, int] = {}
    ask = method.ask

    def watched(worker: int, now: float) -> Any:
        work = ask(worker, now)
        assert work.params["epochs"] == 12
        begun[work.trial] = begun.get(work.trial, 0) + 1
        if work.step:
            resumed[work.step] = resumed.get(work.step, 0) + 1
        return work

    method.ask = watched
    costs = simulate.Costs(start=0.0, save=0.0, load=0.0)
    simulate.simulate(task, method, workers=4, budget=8, target=-1, costs=costs)
    assert len(begun) > 40
    assert 0 < resumed[12] <= resumed[3] <= len(begun) // 4


def test_the_densities_propose_where_the_good_ones_were() -> None:
    halving, task = load("replay.halving"), made_up_task()
    method = halving.ResumingHalving(
        {"learning_rate": task.search_space["learning_rate"]},
        {"epochs": 12},
        longest=48,
        first_rung=3,
        eta=4,
        n_brackets=1,
        has_model=True,
        first=[],
        seed=0,
    )
    off = []
    while len(off) < 80:
        work = method.ask(0, 0.0)
        if not work.step:
            off.append(abs(math.log10(work.params["learning_rate"] / 1e-4)))
            method.report(work.trial, 3, off[-1], 0.0, is_last=False)
    assert statistics.median(off[-40:]) < statistics.median(off[:10]) / 2


@pytest.mark.parametrize(("method", "workers"), [("spezia-median", 1), ("spezia", 4)])
def test_the_pure_functions_find_the_same_as_the_service(method: str, workers: int, tmp_path: Path) -> None:
    program = load("search_quality")
    load("replay.lifecycle").make_template(tmp_path)
    replay = program.Replay(made_up_table(), tmp_path)
    search = {"task": "made1", "workers": workers, "seed": 1, "slack": -99.0, "budget": 5.0}  # to be reached by none
    both = [replay.run(program.Search(method=name, **search)) for name in (method, method.replace("spezia", "service"))]
    assert both[0]["n_trials"] > 6
    compared = ("cost", "reached", "best", "n_trials")
    assert [both[0][key] for key in compared] == [both[1][key] for key in compared]


def test_what_is_saved_is_the_mean_ratio_over_tasks_and_misses_count_as_the_budget() -> None:
    costs = {
        ("random", "a"): [8.0, 12.0],
        ("random", "b"): [30.0, 30.0],
        ("spezia", "a"): [5.0],
        ("spezia", "b"): [7.5],
    }
    lines = [
        {"method": method, "task": task, "workers": 1, "slack": 0.0, "budget": 30.0, "cost": cost, "reached": cost < 30}
        | {"cpu_seconds": 0.1}
        for (method, task), some in costs.items()
        for cost in some
    ]
    [random, ours] = load("replay.summary").summarise(lines, "random")
    assert (random["method"], random["saved"], random["missed"]) == ("random", 1.0, 0.5)
    assert (ours["saved"], ours["missed"], ours["by_task"]) == (
        pytest.approx(8**0.5, abs=0.01),
        0.0,
        {"a": 2.0, "b": 4.0},
    )
    low, high = ours["interval"]
    assert low <= 2.0
    assert high >= 4.0


def test_noise_is_what_one_configuration_differs_by_between_seeds() -> None:
    [noise, _] = load("replay.summary").noise_of(made_up_table())
    # seeds 1 and 2 are 0.01 apart, at the precision of float16
    assert noise == pytest.approx(0.01 / 2**0.5, rel=0.1)


def test_pausing_at_rungs_lets_a_budget_begin_several_times_as_many_trials(tmp_path: Path) -> None:
    program = load("search_quality")
    load("replay.lifecycle").make_template(tmp_path)
    replay = program.Replay(made_up_table(), tmp_path)
    search = {"task": "made1", "workers": 2, "seed": 1, "slack": -99.0, "budget": 4.0}
    paused, whole = (replay.run(program.Search(method=name, **search)) for name in ("rungs-early-12", "spezia-12"))
    assert whole["n_trials"] == 4
    assert paused["n_trials"] > 3 * whole["n_trials"]


def test_a_study_is_carried_out_to_its_end_and_its_answer_is_a_complete_trial(tmp_path: Path) -> None:
    program, table = load("search_quality"), made_up_table()
    load("replay.lifecycle").make_template(tmp_path)
    replay = program.Replay(table, tmp_path)
    search = {"task": "made1", "workers": 1, "seed": 1, "slack": 0.0, "budget": math.inf}
    lines = [replay.run(program.Search(method=name, **search)) for name in ("12x-none-12", "12x-rungs-early-12")]
    assert [line["n_trials"] for line in lines] == [12, 12]
    whole, paused = lines
    costs = program.COSTS
    assert whole["cost"] == pytest.approx(12 * (1 + costs.start))
    assert paused["cost"] < 0.6 * whole["cost"]
    assert whole["best_complete"] == whole["best"]
    assert paused["best_complete"] >= paused["best"]
    [of_whole, of_paused] = load("replay.summary").summarise_studies(made_up_table(n_tasks=1), only_task(lines))
    assert (of_whole["study"], of_paused["study"]) == ("12x-none-12", "12x-rungs-early-12")
    assert of_whole["cost"] > of_paused["cost"]
    best = load("replay.task").ReplayTask.of_table(table, "made0").best_N.min()
    assert of_paused["lacks"] == pytest.approx(paused["best_complete"] - best, abs=1e-3)


def only_task(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line | {"task": "made0"} for line in lines]
