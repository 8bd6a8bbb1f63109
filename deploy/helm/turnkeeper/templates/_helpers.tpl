{{- define "turnkeeper.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "turnkeeper.selector" -}}
app.kubernetes.io/name: turnkeeper
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "turnkeeper.labels" -}}
{{ include "turnkeeper.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "turnkeeper.image" -}}
{{ required "image.repository is missing: name the image made by `turnkeeper build`" .Values.image.repository }}:{{ required "image.tag is missing: name the version to run" .Values.image.tag }}
{{- end }}

{{- define "turnkeeper.database" -}}
- name: DATABASE_URI
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.secret }}
      key: {{ .Values.database.key }}
{{- end }}

{{- define "turnkeeper.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "turnkeeper.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Seconds from SIGTERM to SIGKILL, above what a server takes at the longest: five before it hears of it, then its
open streams, then its runs. */}}
{{- define "turnkeeper.terminationGrace" -}}
{{ add .Values.drainTimeout (mul 2 .Values.cancelGrace) 20 }}
{{- end }}

{{- /* The pod of a role: a dict of `root`, `role` and `values`, which are those of the role. */}}
{{- define "turnkeeper.pod" -}}
metadata:
  labels:
    {{- include "turnkeeper.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
  annotations:
    checksum/settings: {{ .root.Values.settings | toJson | sha256sum }}
    {{- with .root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false # a release named turnkeeper would set TURNKEEPER_... of its own
  terminationGracePeriodSeconds: {{ include "turnkeeper.terminationGrace" .root }}
  securityContext:
    {{- include "turnkeeper.podSecurity" .root | nindent 4 }}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with .root.Values.scheduling }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  containers:
    - name: server
      image: {{ include "turnkeeper.image" .root | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      env:
        {{- include "turnkeeper.database" .root | nindent 8 }}
        {{- with .root.Values.redis.secret }}
        - name: REDIS_URI
          valueFrom:
            secretKeyRef:
              name: {{ . }}
              key: {{ $.root.Values.redis.key }}
        {{- end }}
        - name: TURNKEEPER_ROLE
          value: {{ .role }}
        - name: TURNKEEPER_JOBS
          value: {{ .root.Values.worker.jobs | quote }}
        - name: TURNKEEPER_DRAIN_TIMEOUT
          value: {{ .root.Values.drainTimeout | quote }}
        - name: TURNKEEPER_CANCEL_GRACE
          value: {{ .root.Values.cancelGrace | quote }}
        - name: HOME
          value: /tmp
      envFrom:
        - configMapRef:
            name: {{ include "turnkeeper.name" .root }}
        {{- with .root.Values.envFrom }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: http
          containerPort: 8000
      startupProbe:
        httpGet: { path: /ok, port: http }
        periodSeconds: 2
        failureThreshold: 60
      readinessProbe:
        httpGet: { path: /ok, port: http }
        periodSeconds: 5
        timeoutSeconds: 3
      livenessProbe:
        httpGet: { path: /ok, port: http }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      lifecycle:
        preStop:
          exec:
            command: [sleep, "5"] # by then no new request is sent here
      securityContext:
        {{- include "turnkeeper.containerSecurity" .root | nindent 8 }}
      resources:
        {{- toYaml .values.resources | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
  volumes:
    - name: tmp
      emptyDir: {}
{{- end }}
