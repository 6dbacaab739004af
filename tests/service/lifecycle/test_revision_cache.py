"""Answers that are kept until something happens."""

import threading

from service.lifecycle.revision_cache import RevisionCache


def test_an_answer_is_kept_until_the_study_has_a_later_revision() -> None:
    cache = RevisionCache(100)
    assert cache.get("one", 5, lambda: b"old") == b"old"
    assert cache.get("one", 5, lambda: b"new") == b"old"
    assert cache.get("one", 4, lambda: b"new") == b"old"
    assert cache.get("one", 6, lambda: b"new") == b"new"
    assert cache.get("other", 5, lambda: b"other") == b"other"


def test_answers_take_no_more_memory_than_they_may() -> None:
    cache = RevisionCache(10)
    cache.get("one", 1, lambda: b"1234")
    cache.get("two", 1, lambda: b"1234")
    cache.get("one", 1, lambda: b"")
    cache.get("three", 1, lambda: b"1234")
    assert cache.get("one", 1, lambda: b"again") == b"1234"
    assert cache.get("two", 1, lambda: b"again") == b"again"
    assert cache.get("large", 1, lambda: b"12345678901") == b"12345678901"
    assert cache.get("large", 1, lambda: b"again") == b"again"


def test_an_answer_in_another_revision_takes_the_place_of_the_one_before() -> None:
    cache = RevisionCache(10)
    for revision in range(20):
        cache.get("one", revision, lambda: b"1234")
    cache.get("two", 1, lambda: b"1234")
    assert cache.get("one", 19, lambda: b"again") == b"1234"


def test_many_who_ask_at_once_have_it_worked_out_once() -> None:
    cache = RevisionCache(100)
    worked_out = []
    begun, may_end = threading.Event(), threading.Event()

    def work_out() -> bytes:
        worked_out.append(1)
        begun.set()
        assert may_end.wait(60)
        return b"answer"

    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(cache.get("one", 1, work_out))) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    may_end.set()
    for thread in threads:
        thread.join(60)
    assert (answers, worked_out) == ([b"answer"] * 5, [1])


def test_what_could_not_be_worked_out_is_tried_again() -> None:
    cache = RevisionCache(100)

    def fail() -> bytes:
        raise ValueError

    for _ in range(2):
        try:
            cache.get("one", 1, fail)
        except ValueError:
            continue
        raise AssertionError
    assert cache.get("one", 1, lambda: b"answer") == b"answer"
