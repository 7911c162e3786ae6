"""Cancels while messages are lost, links close and nodes go, as transcripts."""

from __future__ import annotations

from tests.node.story import check_story


def test_a_ban_that_failed_is_told_and_the_task_is_cancelled_all_the_same() -> None:
    check_story("""
        start p on A
        send c of p to B
            A>B child c
        cancel p for user
            p is cancelled: by user request
            A>B ban p
        lose A>B ban p
        close A>B
            child c fails: disconnected
            ban p fails: disconnected
            user is told: node_disconnected_exception
        end p
            p ends
            A>B unban p
    """)


def test_a_lost_answer_to_a_ban_is_a_failure_and_the_ban_is_removed_at_the_end() -> None:
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
        lose B>A reply ban p
        close A>B
            child c fails: disconnected
            ban p fails: disconnected
            user is told: node_disconnected_exception
        end p
            p ends
            A>B unban p
        deliver A>B unban p
    """)


def test_the_first_failure_is_told_when_every_ban_is_answered() -> None:
    check_story("""
        start p on A
        send b of p to B
            A>B child b
        send c of p to C
            A>C child c
        cancel p for user
            p is cancelled: by user request
            A>B ban p
            A>C ban p
        kill B
            child b fails: disconnected
            ban p fails: disconnected
        deliver A>C ban p
            C>A reply ban p
        deliver C>A reply ban p
            user is told: node_disconnected_exception
    """)


def test_a_failure_far_below_is_told_at_the_top() -> None:
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
        kill C
            child g fails: disconnected
            ban c fails: disconnected
            B>A reply ban p
        deliver B>A reply ban p
            user is told: node_disconnected_exception
    """)


def test_a_node_that_dies_before_the_ban_needs_none() -> None:
    check_story("""
        start p on A
        send c of p to B
            A>B child c
        deliver A>B child c
            c starts
        kill B
            child c fails: disconnected
        cancel p for user
            p is cancelled: by user request
            user is told
    """)


def test_a_node_that_dies_after_the_ban_ends_its_children_for_who_waits() -> None:
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
        end p
            p ends
        kill B
            child c fails: disconnected
            ban p fails: disconnected
            A>B unban p
            user is told: node_disconnected_exception
    """)


def test_the_orphans_of_a_dead_node_are_cancelled_with_their_own_children() -> None:
    check_story("""
        start p on A
        send c of p to B
            A>B child c
        deliver A>B child c
            c starts
        send d of p to B, plain
            A>B child d
        deliver A>B child d
            d starts
        send g of c to C
            B>C child g
        deliver B>C child g
            g starts
        kill A
            c is cancelled: channel was closed
            B>C ban c
        deliver B>C ban c
            g is cancelled: channel was closed
            C>B reply ban c
        deliver C>B reply ban c
    """)


def test_the_bans_of_a_dead_node_are_dropped() -> None:
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
        bans of B
            p: by user request
        kill A
        bans of B
        end c
            c ends
    """)


def test_a_ban_from_a_node_that_left_is_not_kept_but_cancels_what_runs() -> None:
    check_story("""
        start p on A
        send b of p to B
            A>B child b
        deliver A>B child b
            b starts
        send c of p to B
            A>B child c
        B forgets A
        cancel p for user
            p is cancelled: by user request
            A>B ban p
        deliver A>B ban p
            b is cancelled: by user request
            B>A reply ban p
        bans of B
        deliver A>B child c
            c starts
    """)


def test_a_lost_unban_leaves_a_ban_until_its_node_leaves() -> None:
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
        end c
            c ends
            B>A reply child c
        deliver B>A reply child c
        end p
            p ends
            A>B unban p
        lose A>B unban p
        close A>B
        bans of B
            p: by user request
        B forgets A
        bans of B
    """)


def test_a_child_that_was_given_up_is_not_waited_for_nor_banned() -> None:
    check_story("""
        start p on A
        send c of p to B
            A>B child c
        deliver A>B child c
            c starts
        give up c
            c is given up
        cancel p for user, wait
            p is cancelled: by user request
        end p
            p ends
            user is told
    """)


def test_a_link_that_closes_cancels_what_came_over_it() -> None:
    check_story("""
        start p on A
        send b of p to B
            A>B child b
        deliver A>B child b
            b starts
        send c of p to C
            A>C child c
        deliver A>C child c
            c starts
        close A>B
            child b fails: disconnected
            b is cancelled: channel was closed
        end b
            b ends
    """)


def test_of_two_failures_the_first_in_time_is_told_once_both_are_known() -> None:
    check_story("""
        start p on A
        send b of p to B
            A>B child b
        send c of p to C
            A>C child c
        cancel p for user
            p is cancelled: by user request
            A>B ban p
            A>C ban p
        refuse A>C ban p
            ban p fails: rejected
        close A>B
            child b fails: disconnected
            ban p fails: disconnected
            user is told: rejected_execution_exception
    """)


def test_of_two_failures_below_the_first_in_time_is_told_at_the_top() -> None:
    check_story("""
        start p on A
        send c of p to B
            A>B child c
        deliver A>B child c
            c starts
        send d of p to B
            A>B child d
        deliver A>B child d
            d starts
        send g of c to C
            B>C child g
        send h of d to C
            B>C child h
        cancel p for user
            p is cancelled: by user request
            A>B ban p
        deliver A>B ban p
            c is cancelled: by user request
            B>C ban c
            d is cancelled: by user request
            B>C ban d
        refuse B>C ban d
            ban d fails: rejected
        close B>C
            child g fails: disconnected
            child h fails: disconnected
            ban c fails: disconnected
            B>A reply ban p
        deliver B>A reply ban p
            user is told: rejected_execution_exception
    """)
