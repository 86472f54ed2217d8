"""Handlers of arguments come from plugins by type: registered ones, and those installed beside the type's library."""

import sys
from decimal import Decimal

import pytest

from perscache.errors import PluginContractError, PluginImportError, RivalPlugins
from perscache.plugins import discovery, hookimpl, registry

MATRIX = """
    class Matrix:
        pass

    class Sparse(Matrix):
        pass
"""

HANDLERS = """
    from perscache.plugins import hookimpl

    PERSCACHE_API = 1

    def of_matrix(*arguments):
        raise NotImplementedError

    @hookimpl
    def perscache_fingerprints():
        return {"matrices.Matrix": of_matrix}
"""

DECLARES = "[perscache.fingerprints]\nmatrices = matrix_handlers\n"


def plugin(handlers):
    class Handlers:
        @hookimpl
        def perscache_fingerprints(self):
            return handlers

    return Handlers()


class Mine:
    pass


class Derived(Mine):
    pass


def test_a_type_without_a_plugin_has_no_handler():
    assert registry.fingerprint_handler(Mine) is None


def test_a_registered_handler_is_found_by_type_by_dotted_name_and_for_derived_types(registered):
    assert registry.fingerprint_handler(Derived) is None
    registered(plugin({Mine: len, f"{__name__}.Derived": repr, "decimal.Decimal": str}))
    assert registry.fingerprint_handler(Mine) is len
    assert registry.fingerprint_handler(Derived) is repr
    assert registry.fingerprint_handler(Decimal) is str


def test_the_nearest_type_wins_over_the_order_of_registration(registered):
    registered(plugin({Mine: len}))
    registered(plugin({Derived: repr}))
    assert registry.fingerprint_handler(Derived) is repr
    assert registry.fingerprint_handler(type("Further", (Derived,), {})) is repr


def test_an_installed_plugin_handles_the_types_of_the_library_that_it_names(site):
    site.install("matrices", matrices=MATRIX)
    site.install("perscache-matrices", entry_points=DECLARES, matrix_handlers=HANDLERS)
    import matrices  # type: ignore[import-not-found]

    assert registry.fingerprint_handler(matrices.Matrix).__name__ == "of_matrix"
    assert registry.fingerprint_handler(matrices.Sparse).__name__ == "of_matrix"
    assert registry.fingerprint_handler(type("Local", (matrices.Matrix,), {})).__name__ == "of_matrix"


def test_a_registered_handler_comes_before_an_installed_one(site, registered):
    site.install("matrices", matrices=MATRIX)
    site.install("perscache-matrices", entry_points=DECLARES, matrix_handlers=HANDLERS)
    registered(plugin({"matrices.Matrix": len}))
    import matrices  # type: ignore[import-not-found]

    assert registry.fingerprint_handler(matrices.Matrix) is len


def test_a_plugin_for_another_library_is_not_imported(site):
    site.install("matrices", matrices=MATRIX)
    points = "[perscache.fingerprints]\ntensors = tensor_handlers\n"
    site.install("perscache-tensors", entry_points=points, tensor_handlers="1 / 0")
    import matrices  # type: ignore[import-not-found]

    assert registry.fingerprint_handler(matrices.Matrix) is None
    assert "tensor_handlers" not in sys.modules


def test_own_types_and_those_of_the_standard_library_cost_no_scan(run, tmp_path):
    (tmp_path / "models.py").write_text("class Order:\n    pass\n", encoding="utf-8")
    run(
        "from decimal import Decimal\n"
        "from models import Order\n"
        "from perscache.plugins import discovery, registry\n"
        "class Here:\n    pass\n"
        "for cls in (int, dict, Decimal, Order, Here):\n"
        "    assert registry.fingerprint_handler(cls) is None\n"
        "assert not discovery.scanned()\n"
    )


def test_many_types_cost_one_scan(site, scans):
    site.put("matrices", matrices=MATRIX)
    site.put("perscache-matrices", entry_points=DECLARES, matrix_handlers=HANDLERS)
    registry.rescan()
    assert scans() == 1
    import matrices  # type: ignore[import-not-found]

    for cls in (matrices.Matrix, matrices.Sparse, type("Local", (matrices.Matrix,), {})):
        assert registry.fingerprint_handler(cls) is not None
    assert discovery.scanned()
    assert scans() == 1


def test_a_broken_plugin_for_the_type_of_an_argument_is_an_error_and_no_other_key(site):
    site.install("matrices", matrices=MATRIX)
    site.install("perscache-matrices", entry_points=DECLARES, matrix_handlers="1 / 0")
    import matrices  # type: ignore[import-not-found]

    for _ in range(2):
        with pytest.raises(PluginImportError, match=r"perscache-matrices 1\.0"):
            registry.fingerprint_handler(matrices.Matrix)


def test_two_plugins_for_one_library_are_rivals(site):
    site.install("matrices", matrices=MATRIX)
    site.install("perscache-matrices", entry_points=DECLARES, matrix_handlers=HANDLERS)
    points = "[perscache.fingerprints]\nmatrices = other_handlers\n"
    site.install("other-matrices", entry_points=points, other_handlers=HANDLERS)
    import matrices  # type: ignore[import-not-found]

    with pytest.raises(RivalPlugins, match="fingerprints for 'matrices'"):
        registry.fingerprint_handler(matrices.Matrix)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('{"tensors.Tensor": of_matrix}', "declares fingerprints for 'matrices'.*gives them for tensors"),
        ("{}", "gives them for nothing"),
        ("[of_matrix]", "must give a mapping"),
        ('{"Matrix": of_matrix}', "dotted name"),
        ('{"matrices.Matrix": 1}', "cannot be called"),
    ],
)
def test_handlers_that_break_the_contract_are_told_how(site, wrong, said):
    site.install("matrices", matrices=MATRIX)
    source = HANDLERS.replace('{"matrices.Matrix": of_matrix}', wrong)
    site.install("perscache-matrices", entry_points=DECLARES, matrix_handlers=source)
    import matrices  # type: ignore[import-not-found]

    with pytest.raises(PluginContractError, match=f"perscache-matrices 1.0.*{said}"):
        registry.fingerprint_handler(matrices.Matrix)
