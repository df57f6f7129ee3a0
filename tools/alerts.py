"""The alert rules, made from a table: ``python -m tools.alerts >exporters/prometheus/swiotlb-alerts.yml``.

Every alert has what whoever is woken up needs, in the same annotations: ``summary``, ``description``, ``advice`` (what
the exporter has found on that node, and what helps), ``runbook_url``, and ``recording`` where a recording helps.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import yaml

from swiotlb_exporter.findings import KNOWABLE
from swiotlb_top.accounting.finding import Kind
from swiotlb_top.findings.rules import KIND_OF_CAUSE
from swiotlb_top.kernel_log.causes import LogCause
from swiotlb_top.kernel_log.meanings import MEANINGS


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule. ``advice`` is what it says where the exporter tells of none of the ``findings``."""

    name: str
    expr: str
    for_: str
    severity: Literal["critical", "warning"]
    summary: str
    description: str
    advice: str = "Run swiotlb-top check on the node."
    findings: tuple[Kind, ...] = ()
    of_cause: bool = False
    """Whether the finding is that of the label ``cause`` instead."""
    recording: bool = False
    """Whether a recording of what happened helps."""
    exporter_answers: bool = True
    """Whether the node's own exporter can be asked for the page."""


_DEVICE: Final = "on (job, instance, device, driver)"
_NODE: Final = "on (job, instance)"
_FAILURES: Final = "instance_device:swiotlb_map_failures:rate5m > 10 / 300"
"""Ten in five minutes: a driver that failed once and got on wakes nobody."""
_CAUSES: Final = "instance_device_cause:swiotlb_map_failures_explained:rate5m"
_RATIO: Final = "instance:swiotlb_used_slots:ratio"
UNEXPLAINED: Final = "unexplained"
"""The cause of failures that no burst has explained."""

_UNREACHABLE: Final = (LogCause.UNREACHABLE, LogCause.NOT_BOUNCED)
_OUT_OF_REACH: Final = f'cause=~"{"|".join(cause.value for cause in _UNREACHABLE)}"'


def _by_cause(said: Mapping[LogCause, str]) -> str:
    """What is said of the label ``cause``."""
    return "".join(f'{{{{ if eq $labels.cause "{cause.value}" }}}}{text}{{{{ end }}}}' for cause, text in said.items())


ALERTS: Final = (
    Alert(
        "SwiotlbMapsFailing",
        f"({_CAUSES} * 0 + {_DEVICE} group_left () ({_FAILURES})) or "
        f'label_replace({_FAILURES} unless {_DEVICE} {_CAUSES}, "cause", "{UNEXPLAINED}", "", "")',
        "1m",
        "critical",
        "{{ $labels.device }} on {{ $labels.instance }} gets no bounce buffers: {{ $labels.cause }}",
        "The kernel refuses {{ $value | humanize }} mappings a second to {{ $labels.device }} ({{ $labels.driver }}). "
        "Cause: {{ $labels.cause }}.",
        of_cause=True,
        recording=True,
    ),
    Alert(
        "SwiotlbNearlyFull",
        # io_tlb_used is rarely caught at its height: a high water that rose of late counts as much.
        f"{_RATIO} > 0.9 or "
        "(instance:swiotlb_used_hiwater_slots:ratio > 0.9 and delta(swiotlb_used_hiwater_slots[15m]) > 0)",
        "5m",
        "warning",
        "swiotlb of {{ $labels.instance }} is nearly full",
        "{{ $value | humanizePercentage }} of the slots are, or were of late, in use.",
        findings=(Kind.NEARLY_FULL,),
    ),
    Alert(
        "SwiotlbFilling",
        # The value is the time that is left. Half an hour of more than 40 %: a burst is no trend.
        f"(1 - {_RATIO}) / (deriv({_RATIO}[1h]) > 0) "
        f"and predict_linear({_RATIO}[1h], 4 * 3600) > 1 and min_over_time({_RATIO}[30m]) > 0.4",
        "15m",
        "warning",
        "swiotlb of {{ $labels.instance }} is full in {{ $value | humanizeDuration }} if this goes on",
        "The slots in use have risen for an hour, and at that rate none is free in {{ $value | humanizeDuration }}.",
        findings=(Kind.LEAK, Kind.NEARLY_FULL),
    ),
    Alert(
        "SwiotlbLeak",
        # Found in 10 to 20 minutes, and still in those after them: a load that only grows looks the same for a while.
        'swiotlb_finding_device_info{finding="leak"} == 1',
        "15m",
        "warning",
        "{{ $labels.device }} on {{ $labels.instance }} holds more and more bounce buffers",
        "{{ $labels.device }} ({{ $labels.driver }}) gives fewer back than it takes. swiotlb-top check on the node "
        "says when the pools are full.",
        findings=(Kind.LEAK,),
    ),
    Alert(
        "SwiotlbRunaway",
        # Who took most of what was there and left others enough, or made the pools grow, wakes nobody.
        'swiotlb_finding_device_info{finding="runaway"} == 1 '
        f'and {_NODE} ({_RATIO} > 0.9 or swiotlb_finding{{finding=~"full|fragmented|cannot_grow|unexplained"}} == 1)',
        "1m",
        "warning",
        "{{ $labels.device }} on {{ $labels.instance }} took most of the bounce buffers at once, and others lack them",
        "{{ $labels.device }} ({{ $labels.driver }}) took over half of them within a second, in the last 20 minutes.",
        findings=(Kind.RUNAWAY,),
    ),
    Alert(
        "SwiotlbFragmented",
        f"instance:swiotlb_longest_free_slots:max < 32 and {_NODE} swiotlb_slots - swiotlb_used_slots >= 128",
        "10m",
        "warning",
        "swiotlb of {{ $labels.instance }} is in small pieces",
        "The longest free run is {{ $value }} slots of 2 KiB, though 128 or more are free.",
        findings=(Kind.FRAGMENTED,),
    ),
    Alert(
        "SwiotlbGrowthFailing",
        "increase(swiotlb_growths_total[10m]) - increase(swiotlb_pools_added_total[10m]) > 0.9",
        "1m",
        "warning",
        "swiotlb of {{ $labels.instance }} wants to grow and cannot",
        "In ten minutes some {{ $value | humanize }} runs of swiotlb_dyn_alloc() added no pool.",
        findings=(Kind.GROWTH_FAILS,),
    ),
    Alert(
        "SwiotlbUnreachable",
        # The kernel says so once a boot: it is there, or it is not.
        f"swiotlb_kernel_log_failures_total{{{_OUT_OF_REACH}}} > 0 "
        f"or swiotlb_kernel_log_earlier_failures{{{_OUT_OF_REACH}}} > 0",
        "0m",
        "warning",
        "{{ $labels.device }} on {{ $labels.instance }} cannot reach its bounce buffers",
        _by_cause({cause: MEANINGS[cause].means for cause in _UNREACHABLE}),
        f"What helps: {_by_cause({cause: MEANINGS[cause].helps for cause in _UNREACHABLE})}",
    ),
    Alert(
        "SwiotlbReferenceDisagrees",
        'sum by (job, instance) (increase(swiotlb_verified_operations_total{verdict="disagree"}[15m])) > 0 '
        "or sum by (job, instance) (increase(swiotlb_safety_violations_total[15m])) > 0",
        "0m",
        "critical",
        "the kernel of {{ $labels.instance }} gives bounce buffers that the reference would not",
        "About {{ $value | humanize }} operations in 15 minutes. Record before it goes away.",
        findings=(Kind.HARM, Kind.DISAGREE),
        recording=True,
    ),
    Alert(
        "SwiotlbExporterUnreachable",
        'up{job="swiotlb"} == 0',
        "2m",
        "warning",
        "the swiotlb exporter of {{ $labels.instance }} does not answer",
        "Prometheus cannot scrape it: nobody sees that node's swiotlb.",
        "Run systemctl status swiotlb-exporter on the node, and look at the target's error in Prometheus (Status, "
        "Targets).",
        exporter_answers=False,
    ),
    Alert(
        "SwiotlbExporterBlind",
        f"swiotlb_up == 0 unless {_NODE} swiotlb_slots == 0",
        "2m",
        "warning",
        "the exporter of {{ $labels.instance }} cannot watch swiotlb",
        '{{ with printf "swiotlb_blind_info{instance=%q}" $labels.instance | query }}'
        '{{ . | first | label "reason" }}{{ else }}The exporter does not say why{{ end }}.',
        "Run swiotlb-top doctor on the node: it says what is missing. The exporter tries again once a minute.",
    ),
    Alert(
        "SwiotlbStale",
        'time() - node_textfile_mtime_seconds{file=~".*swiotlb.prom"} > 120 '
        f"or swiotlb_burst_age_seconds > 900 and {_NODE} instance:swiotlb_maps:rate5m > 0",
        "5m",
        "warning",
        "what is known of the swiotlb of {{ $labels.instance }} is {{ $value | humanizeDuration }} old",
        "{{ if $labels.file }}Nobody has written {{ $labels.file }} since.{{ else }}Mappings are made, but none has "
        "been recorded since: causes, free runs, latencies and the reference's verdict are of that time.{{ end }}",
        "{{ if $labels.file }}Start the exporter again on the node; if it is not wanted any more, delete the file."
        "{{ else }}Run systemctl restart swiotlb-exporter on the node, and swiotlb-top doctor to see what is missing."
        "{{ end }}",
    ),
    Alert(
        "SwiotlbExporterCostly",
        "instance:swiotlb_watching_cpus:rate5m > 0.25 "
        "or swiotlb_exporter_process_resident_memory_bytes > 400 * 1024 * 1024",
        "15m",
        "warning",
        "watching swiotlb costs {{ $labels.instance }} too much",
        "{{ if lt $value 1000.0 }}The exporter, with its BPF programs where the kernel counts their time, takes "
        "{{ $value | humanizePercentage }} of a CPU{{ else }}The exporter has {{ $value | humanize1024 }}B of memory"
        "{{ end }}.",
        "A longer --interval, fewer --devices and no --flight cost less. Restart the exporter, and report it if that "
        "does not help.",
    ),
)

_DOCS: Final = "$externalLabels.swiotlb_docs"
_ANSWERS: Final = (
    r'{{ with query "topk(1, up{job=\"swiotlb\"} == 1)" }}{{ . | first | label "instance" }}'
    "{{ else }}{{ $labels.instance }}{{ end }}"
)
"""The address of an exporter that answers, if any does."""
_RECORDING: Final = (
    '{{ with printf "topk(1, swiotlb_flight_last_file_timestamp_seconds{instance=%q})" $labels.instance | query }}'
    '{{ . | first | label "file" }} on {{ $labels.instance }}{{ else }}None by the exporter: its option --flight, or '
    "swiotlb-flight.service, makes them.{{ end }}"
)
_HEAD: Final = """\
# Made from the table in tools/alerts.py: `make docs` writes this file.
# Every alert has a section of the same name in docs/alerts.md, to which its runbook_url leads: on the node's exporter,
# which has the page, or where Prometheus's external label swiotlb_docs says (scrape.yml).
# advice says what swiotlb-top check finds on the node, and what helps (swiotlb_finding_info); recording where the
# latest file of the exporter's flight recorder is.
"""


def render(alerts: tuple[Alert, ...] = ALERTS) -> str:
    """The file of rules."""
    groups = [{"name": "swiotlb-alerts", "rules": [_rule(alert) for alert in alerts]}]
    return _HEAD + yaml.dump({"groups": groups}, Dumper=_Dumper, sort_keys=False, width=118, allow_unicode=True)


def _rule(alert: Alert) -> dict[str, Any]:
    annotations = {"summary": alert.summary, "description": alert.description, "advice": _advice(alert)}
    if alert.recording:
        annotations["recording"] = _RECORDING
    annotations["runbook_url"] = _runbook(alert)
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.for_,
        "labels": {"severity": alert.severity},
        "annotations": annotations,
    }


def _advice(alert: Alert) -> str:
    if alert.of_cause:
        kinds = "".join(
            f'{{{{ if eq $labels.cause {_quoted(kind)} }}}}{{{{ $kind = "{kind.value}" }}}}{{{{ end }}}}'
            for kind in dict.fromkeys(KIND_OF_CAUSE.values())
            if kind in KNOWABLE
        )
        return f'{{{{ $kind := "{UNEXPLAINED}" }}}}{kinds}' + _found(
            'finding=%q}" $labels.instance $kind', alert.advice
        )
    if alert.findings:
        any_of = "|".join(kind.value for kind in alert.findings)
        return _found(f'finding=~\\"{any_of}\\"}}" $labels.instance', alert.advice)
    return alert.advice


def _quoted(kind: Kind) -> str:
    """The causes that are this kind of finding."""
    return " ".join(f'"{cause.value}"' for cause, of in KIND_OF_CAUSE.items() if of is kind)


def _found(those: str, otherwise: str) -> str:
    """What the exporter says of the findings that are selected, and ``otherwise`` where it tells of none."""
    return (
        f'{{{{ range $at, $one := query (printf "swiotlb_finding_info{{instance=%q,{those}) }}}}{{{{ if $at }}}} '
        f"{{{{ end }}}}{{{{ $one.Labels.meaning }}}} {{{{ $one.Labels.advice }}}}{{{{ else }}}}{otherwise}{{{{ end }}}}"
    )


def _runbook(alert: Alert) -> str:
    address = "{{ $labels.instance }}" if alert.exporter_answers else _ANSWERS
    base = f"{{{{ with {_DOCS} }}}}{{{{ . }}}}{{{{ else }}}}http://{address}{{{{ end }}}}"
    return f"{base}/alerts.md#{alert.name.lower()}"


class _Dumper(yaml.SafeDumper):
    """Folds what is long, and indents lists."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _folded(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=">" if len(text) > 90 else None)


_Dumper.add_representer(str, _folded)


if __name__ == "__main__":
    sys.stdout.write(render())
