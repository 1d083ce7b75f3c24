"""
The parts of which the dashboards are made: panels, tables, variables, the dashboard around.

A panel takes its title, what it tells a newcomer, and its queries; everything else is the
same in all dashboards and is said here, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TypeAlias

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, prometheus
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models import common as looks, heatmap as heat
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    DashboardSpecialValueMapOptions,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ThresholdsMode,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Panel: TypeAlias = Stat | Table | TimeSeries | bargauge.Panel | heatmap.Panel
Row: TypeAlias = Sequence[Panel]

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "codecommit"
NONE_WHERE_NAN = SpecialValueMap(
    options=DashboardSpecialValueMapOptions(
        match=SpecialValueMatch.NULL_AND_NAN, result=ValueMappingResult(text="none")
    )
)
COLUMN_TITLES = {
    "account_id": "Account",
    "aws_region": "Region",
    "repository": "Repository",
    "action": "Action",
    "error_code": "Error",
    "identity_type": "Caller",
    "credentials": "Credentials",
}
"""How a label is called at the head of a column."""

# Panels


def stat(
    title: str,
    description: str,
    expression: str,
    *,
    unit: str = "short",
    bad_from: float | None = None,
    good_from: float | None = None,
    height: int = 4,
) -> Stat:
    """
    One number; red from ``bad_from`` on, or below ``good_from``.

    Beside a graph it is as high as the graph, 8, so that no hole is left.
    """
    return (
        Stat()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .span(4)
        .height(height)
        .mappings([NONE_WHERE_NAN])
        .thresholds(_thresholds(bad_from, good_from))
        .color_mode(looks.BigValueColorMode.VALUE)
        .graph_mode(looks.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_query("A", expression).instant())
    )


def graph(
    title: str,
    description: str,
    queries: Mapping[str, str],
    *,
    unit: str = "cpm",
    stacked: bool = False,
    width: int = 12,
) -> TimeSeries:
    """
    Lines over time, or areas that add up; ``queries`` are expressions by legend.
    """
    mode = looks.StackingMode.NORMAL if stacked else looks.StackingMode.NONE
    panel = (
        TimeSeries()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(8)
        .min(0)
        .fill_opacity(40 if stacked else 10)
        .show_points(looks.VisibilityMode.NEVER)
        .stacking(common.StackingConfig().mode(mode).group("A"))
        .tooltip(
            common.VizTooltipOptions()
            .mode(looks.TooltipDisplayMode.MULTI)
            .sort(looks.SortOrder.DESCENDING)
        )
        .legend(
            common.VizLegendOptions()
            .display_mode(looks.LegendDisplayMode.LIST)
            .placement(looks.LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
            .calcs([])
        )
    )
    for name, (legend, expression) in zip(ascii_uppercase, queries.items(), strict=False):
        panel.with_target(_query(name, expression).range().legend_format(legend))
    return panel


def bars(
    title: str,
    description: str,
    legend: str,
    expression: str,
    *,
    width: int = 12,
) -> bargauge.Panel:
    """
    One bar for each label value, the longest first.
    """
    return (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("short")
        .span(width)
        .height(8)
        .min(0)
        .thresholds(_thresholds())
        .orientation(looks.VizOrientation.HORIZONTAL)
        .display_mode(looks.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_query("A", f"sort_desc({expression})").instant().legend_format(legend))
    )


def heat_map(
    title: str, description: str, buckets: str, *, unit: str = "s", width: int = 12
) -> heatmap.Panel:
    """
    How many observations a minute each bucket of a histogram gets, over time.
    """
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("cpm")
        .span(width)
        .height(8)
        .calculate(calculate=False)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .cell_values(heatmap.CellValues().unit("cpm"))
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heat.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .steps(64)
        )
        .show_legend()
        .with_target(
            _query("A", buckets).range().format(PromQueryFormat.HEATMAP).legend_format("{{le}}")
        )
    )


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column of numbers of a table.
    """

    title: str
    expression: str
    unit: str = "short"


def table(
    title: str,
    description: str,
    labels: Sequence[str],
    *columns: Column,
    width: int = 24,
    rows_max: int | None = None,
    links: bool = False,
) -> Table:
    """
    One row for each set of label values, the largest of the first column of numbers first.

    With ``rows_max`` the others are left out, here and not by a topk() that every column would
    have to ask for again. With ``links`` the name of a repository leads to its dashboard.
    """
    names = dict(zip(ascii_uppercase, columns, strict=False))
    titles = {label: COLUMN_TITLES[label] for label in labels}
    titles |= {f"Value #{name}": column.title for name, column in names.items()}
    titles["Value"] = columns[0].title  # so called where there is one query
    panel = (
        Table()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("short")
        .span(width)
        .height(9 if width == 24 else 8)  # beside a graph, as high as it
        .mappings([NONE_WHERE_NAN])
        .transformations(
            [
                DataTransformerConfig("merge", options={}),
                DataTransformerConfig(
                    "organize",
                    options={
                        "excludeByName": {"Time": True},
                        "indexByName": {name: place for place, name in enumerate(titles)},
                        "renameByName": titles,
                    },
                ),
            ]
        )
        .sort_by([common.TableSortByFieldState().display_name(columns[0].title).desc(desc=True)])
    )
    for name, column in names.items():
        panel.with_target(_query(name, column.expression).instant().format(PromQueryFormat.TABLE))
        panel.override_by_name(column.title, [DynamicConfigValue("unit", column.unit)])
    if rows_max:
        order = {"field": columns[0].title, "desc": True}
        panel.with_transformation(
            DataTransformerConfig("sortBy", options={"fields": {}, "sort": [order]})
        )
        panel.with_transformation(DataTransformerConfig("limit", options={"limitField": rows_max}))
    if links:
        panel.override_by_name("Repository", [DynamicConfigValue("links", [REPOSITORY_LINK])])
    return panel


REPOSITORY_LINK = {
    "title": "Look at this repository",
    "url": "/d/codecommit-repository?var-account=${__data.fields.Account}"
    "&var-region=${__data.fields.Region}&var-repository=${__data.fields.Repository}"
    "&${datasource:queryparam}&${job:queryparam}&${__url_time_range}",
}


def _query(name: str, expression: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(name).datasource(SOURCE).expr(expression)


def _thresholds(
    bad_from: float | None = None, good_from: float | None = None
) -> dashboard.ThresholdsConfig:
    steps = [Threshold(color="blue")]
    if bad_from is not None:
        steps = [Threshold(color="green"), Threshold(value=bad_from, color="red")]
    if good_from is not None:
        steps = [Threshold(color="red"), Threshold(value=good_from, color="green")]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


# Variables


def variable(
    name: str, label: str, query: str, *, all_value: str = ".*"
) -> dashboard.QueryVariable:
    """
    A choice of label values; All is any value, the empty one too.
    """
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(all_value)
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


# No job and no instance is empty: Prometheus writes both.
JOB = variable("job", "Job", "label_values(codecommit_exporter_build_info, job)", all_value=".+")
INSTANCE = variable(
    "instance",
    "Instance",
    'label_values(codecommit_exporter_build_info{job=~"$job"}, instance)',
    all_value=".+",
)
ACCOUNT = variable(
    "account", "Account", 'label_values(codecommit_events_total{job=~"$job"}, account_id)'
)
REGION = variable(
    "region",
    "Region",
    'label_values(codecommit_events_total{job=~"$job", account_id=~"$account"}, aws_region)',
)
REPOSITORY = variable(
    "repository",
    "Repository",
    "label_values(codecommit_events_total"
    '{job=~"$job", account_id=~"$account", aws_region=~"$region"}, repository)',
)
ACTION = variable(
    "action",
    "Action",
    "label_values(codecommit_events_total"
    '{job=~"$job", account_id=~"$account", aws_region=~"$region", repository=~"$repository"}'
    ", action)",
)

# The dashboard


def board(
    name: str,
    title: str,
    description: str,
    variables: Sequence[dashboard.QueryVariable],
    answers: Mapping[str, Row],
    *,
    since: str = "now-24h",
    refresh: str = "5m",
) -> Dashboard:
    """
    A dashboard that answers questions, each with a row of panels.
    """
    links = (
        dashboard.DashboardLink("CodeCommit")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
    )
    made = (
        dashboard.Dashboard(title)
        .uid(f"codecommit-{name}")
        .description(description)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time(since, "now")
        .refresh(refresh)
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(links)
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
    )
    for each in variables:
        made.with_variable(each)
    number = 0
    for question, panels in answers.items():
        made.with_row(dashboard.Row(question).id(number := number + 1))
        for panel in panels:
            made.with_panel(panel.id(number := number + 1))
    return made.build()
