"""The cancel protocol as transcripts: who says what to whom, and in which order. See `story.py` for the steps."""

from __future__ import annotations

from tests.node.story import check_story


def test_a_cancel_bans_where_children_are_and_unbans_when_all_is_over() -> None:
    check_story("""
        start p on A
        send c of p to B
            A>B child c
        deliver A>B child c
            c starts
        cancel p for user
            p is cancelled: by user request
            A>B ban p
        deliver A>B ban p
            c is cancelled: by user request
            B>A reply ban p
        deliver B>A reply ban p
            user is told
        end p
            p ends
        end c
            c ends
            B>A reply child c
        deliver B>A reply child c
            A>B unban p
        bans of B
            p: by user request
        deliver A>B unban p
        bans of B
    """)


def test_who_waits_is_told_when_task_and_children_have_ended() -> None:
    check_story("""
        start p on A
        send c of p to B
            A>B child c
        deliver A>B child c
            c starts
        cancel p for user, wait
            p is cancelled: by user request
            A>B ban p
        deliver A>B ban p
            c is cancelled: by user request
        end c
            c ends
            B>A reply ban p
            B>A reply child c
        deliver B>A reply child c
        deliver B>A reply ban p
        end p
            p ends
            A>B unban p
            user is told
        deliver A>B unban p
    """)


def test_a_ban_is_answered_when_it_stands_in_the_whole_subtree() -> None:
    check_story("""
        start p on A
        send c of p to B
            A>B child c
        deliver A>B child c
            c starts
        send g of c to C
            B>C child g
        deliver B>C child g
            g starts
        cancel p for user
            p is cancelled: by user request
            A>B ban p
        deliver A>B ban p
            c is cancelled: by user request
            B>C ban c
        deliver B>C ban c
            g is cancelled: by user request
            C>B reply ban c
        deliver C>B reply ban c
            B>A reply ban p
        deliver B>A reply ban p
            user is told
    """)


def test_a_ban_that_waits_is_answered_when_the_subtree_has_ended() -> None:
    check_story("""
        start p on A
        send c of p to B
            A>B child c
        deliver A>B child c
            c starts
        send g of c to C
            B>C child g
        deliver B>C child g
            g starts
        cancel p for user, wait
            p is cancelled: by user request
            A>B ban p
        deliver A>B ban p
            c is cancelled: by user request
            B>C ban c
        deliver B>C ban c
            g is cancelled: by user request
        end g
            g ends
            C>B reply ban c
            C>B reply child g
        deliver C>B reply child g
        end c
            c ends
            B>A reply child c
        deliver C>B reply ban c
            B>C unban c
            B>A reply ban p
        deliver B>A reply ban p
        deliver B>A reply child c
        end p
            p ends
            A>B unban p
            user is told
    """)


def test_a_child_that_comes_after_the_ban_is_refused() -> None:
    check_story("""
        start p on A
        send c of p to B
            A>B child c
        cancel p for user
            p is cancelled: by user request
            A>B ban p
        deliver A>B ban p
            B>A reply ban p
        deliver A>B child c
            c is refused: Task cancelled before it started: by user request
            B>A reply child c
        deliver B>A reply ban p
            user is told
        deliver B>A reply child c
        end p
            p ends
            A>B unban p
        deliver A>B unban p
    """)


def test_a_cancelled_task_starts_no_more_children() -> None:
    check_story("""
        start p on A
        cancel p for user
            p is cancelled: by user request
            user is told
        send c of p to B
            c is not sent: The parent task was cancelled, shouldn't start any child tasks, by user request
        end p
            p ends
        send c of p to B
            c is not sent: The parent task was cancelled, shouldn't start any child tasks, by user request
    """)


def test_only_nodes_with_outstanding_children_are_banned() -> None:
    check_story("""
        start p on A
        send b of p to B
            A>B child b
        send c of p to C
            A>C child c
        deliver A>B child b
            b starts
        end b
            b ends
            B>A reply child b
        deliver B>A reply child b
        cancel p for user
            p is cancelled: by user request
            A>C ban p
    """)


def test_two_children_on_a_node_are_one_ban_and_both_delay_the_unban() -> None:
    check_story("""
        start p on A
        send b of p to B
            A>B child b
        send c of p to B
            A>B child c
        deliver A>B child b
            b starts
        deliver A>B child c
            c starts
        cancel p for user
            p is cancelled: by user request
            A>B ban p
        deliver A>B ban p
            b is cancelled: by user request
            c is cancelled: by user request
            B>A reply ban p
        deliver B>A reply ban p
            user is told
        end p
            p ends
        end b
            b ends
            B>A reply child b
        deliver B>A reply child b
        end c
            c ends
            B>A reply child c
        deliver B>A reply child c
            A>B unban p
    """)


def test_a_child_on_the_own_node_is_banned_there() -> None:
    check_story("""
        start p on A
        send c of p to A
            A>A child c
        deliver A>A child c
            c starts
        cancel p for user
            p is cancelled: by user request
            A>A ban p
        deliver A>A ban p
            c is cancelled: by user request
            A>A reply ban p
        deliver A>A reply ban p
            user is told
    """)


def test_a_plain_child_runs_on_and_delays_the_unban() -> None:
    check_story("""
        start p on A
        send c of p to B, plain
            A>B child c
        deliver A>B child c
            c starts
        cancel p for user
            p is cancelled: by user request
            A>B ban p
        deliver A>B ban p
            B>A reply ban p
        deliver B>A reply ban p
            user is told
        end p
            p ends
        end c
            c ends
            B>A reply child c
        deliver B>A reply child c
            A>B unban p
    """)


def test_a_plain_child_is_not_refused() -> None:
    check_story("""
        start p on A
        send c of p to B, plain
            A>B child c
        cancel p for user
            p is cancelled: by user request
            A>B ban p
        deliver A>B ban p
            B>A reply ban p
        deliver A>B child c
            c starts
    """)


def test_a_task_that_stops_alone_bans_nobody_and_may_start_more() -> None:
    check_story("""
        start p on A, leaf
        send b of p to B
            A>B child b
        deliver A>B child b
            b starts
        cancel p for user
            p is cancelled: by user request
            user is told
        cancel p for other, wait
        send c of p to C
            A>C child c
        end p
            p ends
            other is told
    """)


def test_a_task_without_children_is_cancelled_at_once() -> None:
    check_story("""
        start p on A
        cancel p for user
            p is cancelled: by user request
            user is told
        cancel p for other, wait
        end p
            p ends
            other is told
    """)


def test_a_child_cancelled_by_itself_leaves_parent_and_siblings_alone() -> None:
    check_story("""
        start p on A
        send b of p to B
            A>B child b
        deliver A>B child b
            b starts
        send c of p to B
            A>B child c
        deliver A>B child c
            c starts
        cancel b for user
            b is cancelled: by user request
            user is told
        end b
            b ends
            B>A reply child b
        deliver B>A reply child b
    """)


def test_a_task_that_ended_without_a_cancel_may_still_send_and_nobody_counts() -> None:
    check_story("""
        start p on A
        end p
            p ends
        send c of p to B
            A>B child c
        deliver A>B child c
            c starts
        cancel p for user
            user is told
        end c
            c ends
            B>A reply child c
        deliver B>A reply child c
    """)
