"""Any condition that the grammar allows is answered, or refused with an error of the query."""

from __future__ import annotations

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.cluster import Connection

VALUES = st.sampled_from(['"alexnet_1"', '"%"', '"a_\\"', '"2020-01-01"', '""', "0", "-1.5", "1e30", "true", "3"])
MODEL = st.sampled_from(
    ["name", "version", "title", "created_at", "task", "parameters", "layers", "latest", "tag", "input", "output",
     "dataset", "dataset.version", "batch_size", "optimizer", "freeze", "schedule", "accuracy", "loss",
     'metrics["loss"]', "parent", "parent.name", "ancestor.accuracy", "child.parent.layers", "descendant.tag",
     "message", "parent.relation", "owner", "nothing"]
)  # fmt: skip
SELECTORS = st.sampled_from(["conv1", "conv*", "conv[1,3]", "conv[1-3]($1)", "*", "fc?", "none"])
STEPS = st.lists(st.sampled_from([".next", ".prev"]), max_size=3).map("".join)
LAYER = st.sampled_from(
    ["kind", "name", "position", "kernel_size", "padding", "bias", "out_features", "output_shape", "inputs"]
)
TEMPLATES = st.sampled_from(["POOL", 'POOL("MAX")', "RELU", 'CONV("conv*", kernel_size >= 2)', "FC(bias = true)",
                             "LAYER", "CONV(padding_mode = \"zeros\")", "FLATTEN"])  # fmt: skip
OPERATORS = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])

nodes = st.builds('m["{}"]{}'.format, SELECTORS, STEPS)
terms = st.one_of(st.builds("m.{}".format, MODEL), st.builds("{}.{}".format, nodes, LAYER))
simple = st.one_of(
    st.builds("{} {} {}".format, terms, OPERATORS, st.one_of(VALUES, terms)),
    st.builds("{} like {}".format, terms, VALUES),
    st.builds("{} in ({}, {})".format, terms, VALUES, VALUES),
    st.builds("{} is not null".format, terms),
    st.builds("{} has {}".format, nodes, TEMPLATES),
    st.builds("{} exists".format, nodes),
)
conditions = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("not {}".format, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(condition=conditions)
def test_conditions_are_answered_or_refused(work: Connection, condition: str) -> None:
    ask(work, f"select m where {condition}")
    ask(work, f'explain construct n from m where {condition} mutate m["conv*"].insert = RELU')


def ask(work: Connection, query: str) -> None:
    state = None
    try:
        with work.transaction():
            work.execute("SELECT delc.dql(%s)", [query])
    except psycopg.Error as error:
        state = error.sqlstate
    assert state in (None, "42601", "42704", "22023"), query
