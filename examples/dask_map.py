"""Spread a search over a Dask cluster and keep what its workers find: the second run sends them nothing.

Take a number, halve it if it is even, else triple it and add one: as far as anybody knows one always comes to 1
(J. C. Lagarias, "The 3x + 1 problem and its generalizations", Amer. Math. Monthly 92, 1985). Which number below
100,000 takes the most steps?

    pip install distributed
    python examples/dask_map.py
"""

from __future__ import annotations

import time

from distributed import Client, LocalCluster

from perscache import Cache

# Workers on other machines need a storage that they see too: "gs://bucket/folder", or a folder on a network disk.
cache = Cache("json", ".cache")

BLOCK = 5_000
BLOCKS = 20


@cache
def longest_chain(first: int, last: int) -> list[int]:
    """The number from ``first`` to ``last`` that takes the most steps to 1, and the steps."""
    steps, number = max((steps_to_one(number), number) for number in range(first, last + 1))
    return [number, steps]


def steps_to_one(number: int) -> int:
    """How often the rule is applied until there is 1."""
    steps = 0
    while number != 1:
        number = 3 * number + 1 if number % 2 else number // 2
        steps += 1
    return steps


def main() -> None:
    """Search all blocks on two worker processes, and say how many of them were searched before."""
    blocks = [(start * BLOCK + 1, (start + 1) * BLOCK) for start in range(BLOCKS)]
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as client:
        begun = time.perf_counter()
        chains = list(longest_chain.cache.map(blocks, executor=client.get_executor()))
        seconds = time.perf_counter() - begun

    number, steps = max(chains, key=lambda chain: chain[1])
    print(f"{number:,} takes {steps} steps, the most of all numbers up to {BLOCK * BLOCKS:,}.")
    info = longest_chain.cache_info()
    print(f"{info.misses} blocks were searched, {info.hits} were known: {seconds:.2f} s.")
    print("Run me again: then the workers have nothing to do.")


if __name__ == "__main__":
    main()
