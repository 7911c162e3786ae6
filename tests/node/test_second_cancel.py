"""Several cancels of one task, as transcripts: they share the flag, and each has bans of its own."""

from __future__ import annotations

from tests.node.story import check_story


def test_a_second_cancel_that_does_not_wait_is_not_held_up_by_one_that_does() -> None:
    check_story("""
        start p on A
        send c of p to B
            A>B child c
        deliver A>B child c
            c starts
        cancel p for first, wait
            p is cancelled: by user request
            A>B ban p
        deliver A>B ban p
            c is cancelled: by user request
        cancel p for second
            A>B ban p
        deliver A>B ban p
            B>A reply ban p
        deliver B>A reply ban p
            second is told
        end c
            c ends
            B>A reply ban p
            B>A reply child c
        deliver B>A reply ban p
        deliver B>A reply child c
        end p
            p ends
            A>B unban p
            first is told
    """)


def test_a_second_cancel_that_waits_is_told_at_the_end() -> None:
    check_story("""
        start p on A
        send c of p to B
            A>B child c
        deliver A>B child c
            c starts
        cancel p for first
            p is cancelled: by user request
            A>B ban p
        deliver A>B ban p
            c is cancelled: by user request
            B>A reply ban p
        deliver B>A reply ban p
            first is told
        cancel p for second, wait
            A>B ban p
        deliver A>B ban p
        end c
            c ends
            B>A reply ban p
            B>A reply child c
        deliver B>A reply ban p
        deliver B>A reply child c
        end p
            p ends
            A>B unban p
            second is told
    """)


def test_a_second_cancel_after_the_children_ended_bans_nobody() -> None:
    check_story("""
        start p on A
        send c of p to B
            A>B child c
        deliver A>B child c
            c starts
        cancel p for first
            p is cancelled: by user request
            A>B ban p
        deliver A>B ban p
            c is cancelled: by user request
            B>A reply ban p
        deliver B>A reply ban p
            first is told
        end c
            c ends
            B>A reply child c
        deliver B>A reply child c
        cancel p for second
            second is told
        cancel p for third, wait
        end p
            p ends
            A>B unban p
            third is told
    """)


def test_a_second_cancel_makes_good_for_a_ban_that_failed() -> None:
    check_story("""
        start p on A
        send c of p to B
            A>B child c
        deliver A>B child c
            c starts
        cancel p for first
            p is cancelled: by user request
            A>B ban p
        refuse A>B ban p
            ban p fails: rejected
            first is told: rejected_execution_exception
        cancel p for second
            A>B ban p
        deliver A>B ban p
            c is cancelled: by user request
            B>A reply ban p
        deliver B>A reply ban p
            second is told
    """)


def test_a_cancel_after_the_end_is_done_at_once() -> None:
    check_story("""
        start p on A
        send c of p to B
            A>B child c
        end p
            p ends
        cancel p for user
            user is told
        cancel p for other, wait
            other is told
    """)


def test_no_unban_overtakes_the_ban_of_a_second_cancel() -> None:
    check_story("""
        start p on A
        send c of p to B
            A>B child c
        deliver A>B child c
            c starts
        cancel p for first
            p is cancelled: by user request
            A>B ban p
        deliver A>B ban p
            c is cancelled: by user request
            B>A reply ban p
        deliver B>A reply ban p
            first is told
        cancel p for second
            A>B ban p
        end c
            c ends
            B>A reply child c
        deliver B>A reply child c
        end p
            p ends
        deliver A>B ban p
            B>A reply ban p
        deliver B>A reply ban p
            A>B unban p
            second is told
        deliver A>B unban p
    """)
