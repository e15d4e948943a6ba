"""Cells of a study: which process computes them, and with how many seeds in one program."""

from hqnn_jax.ablation.cells import CellStore, Claim


def test_a_folder_without_cells_takes_another_number(plan, tmp_path):
    store, arms = CellStore(tmp_path / "out"), plan().arms
    store.prepare()
    assert store.fix_together(None, [arms], (0, 1)) is None
    assert store.fix_together(3, [arms], (0, 1)) == 3
    assert store.size(arms) is None


def test_a_claim_is_exclusive_and_ends_with_its_process(plan, tmp_path):
    store = CellStore(tmp_path / "out")
    store.prepare()
    arms = plan().arms[:1]
    other = CellStore(tmp_path / "out")
    with store.claim(arms, (0, 1)) as first:
        assert first == Claim((0, 1), ((0, 1),), decided=False)
        with other.claim(arms, (2, 3)) as second:
            assert second.seeds == ()  # one process decides how many are trained together
    store.fix_size(arms, 1)
    with store.claim(arms, (0, 1)) as first:
        assert first == Claim((0, 1), ((0,), (1,)))
        with other.claim(arms, (0, 1, 2)) as second:
            assert second == Claim((2,), ((2,),))
    with store.claim(arms, (0, 1)) as again:
        assert again.seeds == (0, 1)
    store.write(arms[0], 0, b"anything")
    with store.claim(arms, (0, 1)) as rest:
        assert rest == Claim((1,), ((1,),))


def test_a_program_is_claimed_as_a_whole(plan, tmp_path):
    store, other = (CellStore(tmp_path / "out") for _ in range(2))
    store.prepare()
    arms = plan().arms[:1]
    store.fix_size(arms, 2)
    store.write(arms[0], 1, b"anything")
    with store.claim(arms, (0, 1, 2)) as first:
        assert first == Claim((0, 2), ((0, 1), (2,)))
        with other.claim(arms, (1, 2, 3, 4)) as second:
            assert second == Claim((3, 4), ((3, 4),))
