{{/*
What is scraped, for ServiceMonitor and PodMonitor. Takes a dictionary: chart (the chart's
root), monitor (its values), kind (serviceMonitor or podMonitor).
*/}}
{{- define "codecommit-exporter.endpoint" -}}
{{- $hold := include "codecommit-exporter.hold" .chart -}}
{{- $interval := .monitor.interval | default "" -}}
{{- $timeout := .monitor.scrapeTimeout | default "" -}}
{{- $seconds := include "codecommit-exporter.seconds" $interval | int64 -}}
{{- if and $seconds (gt (include "codecommit-exporter.seconds" $timeout | int64) $seconds) -}}
{{- fail (printf "%s.scrapeTimeout is %s, longer than its interval (%s): the Prometheus operator would leave the monitor out" .kind $timeout $interval) -}}
{{- end -}}
{{- $least := mul 2 $seconds -}}
{{- $held := include "codecommit-exporter.seconds" $hold | int64 -}}
{{- if and $held (lt $held $least) -}}
{{- fail (printf "%s.interval is %s, more than half of config.metrics.new-series-hold (%s): Prometheus would miss the first events of new series; write config.metrics.new-series-hold=%ds" .kind $interval $hold $least) -}}
{{- end -}}
port: metrics
path: /metrics
# Some metrics have a label service of their own, and Prometheus has one for the Service.
honorLabels: true
{{- with .monitor.interval }}
interval: {{ . | quote }}
{{- end }}
{{- with .monitor.scrapeTimeout }}
scrapeTimeout: {{ . | quote }}
{{- end }}
relabelings:
  # Rules and dashboards know an exporter by its job, whatever the objects are called.
  - targetLabel: job
    replacement: {{ include "codecommit-exporter.job" .chart | quote }}
  {{- with .monitor.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
metricRelabelings:
  # What the ledger holds is the same whichever pod shows it, and goes on in the next one; with
  # the address of a pod as instance, all counters would begin anew. The exporter's own metrics
  # (codecommit_exporter_) are of a process and keep its labels. The empty group makes the
  # second replacement empty, which takes the label away.
  - sourceLabels: [__name__]
    regex: codecommit_(?:[^e]|e[^x]).*
    targetLabel: instance
    replacement: {{ printf "%s/%s" .chart.Release.Namespace .chart.Release.Name | quote }}
  - sourceLabels: [__name__]
    regex: codecommit_(?:[^e]|e[^x]).*()
    targetLabel: pod
    replacement: $1
  {{- with .monitor.metricRelabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
