{{/* What the objects are called. */}}
{{- define "codecommit-exporter.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* 52 letters leave room for what Kubernetes and this chart add. */}}
{{- define "codecommit-exporter.fullname" -}}
{{- $name := include "codecommit-exporter.name" . -}}
{{- $whole := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $whole | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* One exporter from another, in Prometheus: rules and dashboards look for codecommit in a job. */}}
{{- define "codecommit-exporter.job" -}}
{{- $fullname := include "codecommit-exporter.fullname" . -}}
{{- printf "%s/%s%s" .Release.Namespace (contains "codecommit" $fullname | ternary "" "codecommit-exporter-") $fullname -}}
{{- end -}}

{{- define "codecommit-exporter.serviceAccountName" -}}
{{- $own := ternary (include "codecommit-exporter.fullname" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $own -}}
{{- end -}}

{{- define "codecommit-exporter.image" -}}
{{- with .Values.image -}}
{{- $tag := printf ":%s" (.tag | default $.Chart.AppVersion) -}}
{{- with dig "imageRegistry" "" ($.Values.global | default dict) -}}{{- . -}}/{{- end -}}
{{- .repository -}}{{- empty .digest | ternary $tag (printf "@%s" .digest) -}}
{{- end -}}
{{- end -}}

{{- define "codecommit-exporter.imagePullSecrets" -}}
{{- with concat (.Values.imagePullSecrets | default list) (dig "imagePullSecrets" list (.Values.global | default dict) | default list) -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "codecommit-exporter.podSecurityContext" -}}
{{- $given := .Values.podSecurityContext | default dict -}}
{{- .Values.openshift | ternary (omit $given "runAsUser" "runAsGroup" "fsGroup") $given | toYaml -}}
{{- end -}}

{{/* By these labels a Service, a monitor and a policy find the pod; they can never change. */}}
{{- define "codecommit-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "codecommit-exporter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The labels of the pod of helm test; the Service must not find it. */}}
{{- define "codecommit-exporter.testLabels" -}}
app.kubernetes.io/name: {{ include "codecommit-exporter.name" . | trunc 58 }}-test
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/*
The metadata of an object. Takes a dictionary: chart (the chart's root), name, and where there
are such values namespace, labels and annotations.
*/}}
{{- define "codecommit-exporter.metadata" -}}
{{- $chart := .chart.Chart -}}
{{- $ofChart := dict
  "app.kubernetes.io/version" $chart.AppVersion
  "app.kubernetes.io/managed-by" .chart.Release.Service
  "helm.sh/chart" (printf "%s-%s" $chart.Name $chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
-}}
name: {{ .name | quote }}
namespace: {{ .namespace | default .chart.Release.Namespace | quote }}
labels:
  {{- $selected := include "codecommit-exporter.selectorLabels" .chart | fromYaml }}
  {{- merge $selected (.labels | default dict) (.chart.Values.commonLabels | default dict) $ofChart | toYaml | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
The seconds of a duration as the program reads it, such as 1m30s, rounded up. Leading zeros are
left out, for a number that begins with one would be taken for an octal one.
*/}}
{{- define "codecommit-exporter.seconds" -}}
{{- $days := regexFind "[1-9][0-9]*d" . | trimSuffix "d" | int64 -}}
{{- $hours := regexFind "[1-9][0-9]*h" . | trimSuffix "h" | int64 -}}
{{- $minutes := regexFind "[1-9][0-9]*m([^s]|$)" . | regexFind "^[0-9]+" | int64 -}}
{{- $seconds := regexFind "[1-9][0-9]*s" . | trimSuffix "s" | int64 -}}
{{- $milliseconds := regexFind "[1-9][0-9]*ms" . | trimSuffix "ms" | int64 -}}
{{- add (mul $days 86400) (mul $hours 3600) (mul $minutes 60) $seconds (div (add $milliseconds 999) 1000) -}}
{{- end -}}

{{/*
What is given for an option, or a default. Takes a list: the chart's root, section, option,
default. Sections and options may be null.
*/}}
{{- define "codecommit-exporter.option" -}}
{{- $root := index . 0 -}}
{{- $section := index ($root.Values.config | default dict) (index . 1) | default dict -}}
{{- index $section (index . 2) | default (index . 3) -}}
{{- end -}}

{{/* The program's own defaults, where the chart has to know what is used. */}}
{{- define "codecommit-exporter.grace" -}}
{{- include "codecommit-exporter.option" (list . "shutdown" "grace" "25s") -}}
{{- end -}}

{{- define "codecommit-exporter.hold" -}}
{{- include "codecommit-exporter.option" (list . "metrics" "new-series-hold" "2m") -}}
{{- end -}}

{{/* How long a pod may take to stop: the program's grace, and time to start stopping and to end. */}}
{{- define "codecommit-exporter.terminationGracePeriodSeconds" -}}
{{- $grace := include "codecommit-exporter.grace" . -}}
{{- $least := add 15 (include "codecommit-exporter.seconds" $grace) -}}
{{- $given := .Values.terminationGracePeriodSeconds | default $least | int64 -}}
{{- if lt $given $least -}}
{{- fail (printf "terminationGracePeriodSeconds is %d, which is too short for config.shutdown.grace (%s): at least %d" $given $grace $least) -}}
{{- end -}}
{{- $given -}}
{{- end -}}

{{/*
The options as flags. Those that the chart relies on are always given, since a flag wins over
a variable of extraEnv.
*/}}
{{- define "codecommit-exporter.args" -}}
- serve
- --state.directory=/var/lib/codecommit-exporter
- --web.listen-address=:10112
- --shutdown.grace={{ include "codecommit-exporter.grace" . }}
- --metrics.new-series-hold={{ include "codecommit-exporter.hold" . }}
{{- $given := list "--shutdown.grace" "--metrics.new-series-hold" }}
{{- range $section, $options := .Values.config }}
{{- range $option, $value := $options }}
{{- $flag := printf "--%s.%s" $section $option }}
{{- if not (or (has $flag $given) (kindIs "invalid" $value)) }}
{{- range (kindIs "slice" $value | ternary $value (list $value)) }}
{{- /* A number of YAML is a float here, and a large one would be written 1e+06. */}}
- {{ printf "%s=%v" $flag (kindIs "float64" . | ternary (int64 .) .) | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}
