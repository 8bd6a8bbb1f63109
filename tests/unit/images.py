"""What holds for every Dockerfile and compose file, ours and those we make."""

import json
import re
from typing import Any, NamedTuple

import yaml

# fmt: off
KNOWN = {
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN", "SHELL",
    "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
}
# fmt: on
IMAGE = re.compile(r"[a-z0-9][a-z0-9._/-]*:(?!latest)[\w.-]+")
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
SECRET = re.compile(r"(?i)(password|token|api_key)\s*[:=]\s*(?![-?]|\s*\$\{)\S")


class Instruction(NamedTuple):
    """One instruction of a Dockerfile."""

    name: str
    rest: str

    @property
    def words(self) -> list[str]:
        """Of the exec form."""
        return json.loads(self.rest[self.rest.index("[") :])


def instructions(text: str) -> list[Instruction]:
    """The instructions, with continued lines joined."""
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text))
    lines = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [Instruction(name, rest.strip()) for name, _, rest in lines]


def stages(text: str) -> list[list[Instruction]]:
    """The instructions of each stage; every one begins with its FROM."""
    found: list[list[Instruction]] = []
    for each in instructions(text):
        found += [[]] if each.name == "FROM" else []
        found[-1].append(each)
    return found


def the(stage: list[Instruction], name: str) -> Instruction:
    """The last of its name, which is the one that counts."""
    return [each for each in stage if each.name == name][-1]


def check_dockerfile(text: str) -> None:
    """An image as one wants it: pinned, unprivileged, healthy, stopped in order, with nothing secret in it."""
    read = instructions(text)
    last = stages(text)[-1]
    assert {each.name for each in read} <= KNOWN
    assert all(IMAGE.fullmatch(each.rest.split(" AS ")[0]) for each in read if each.name == "FROM")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", the(last, "USER").rest)
    assert the(last, "HEALTHCHECK").words[:3] == ["turnkeeper", "doctor", "health"]
    assert the(last, "ENTRYPOINT").words == ["turnkeeper"], "in exec form: a shell would keep SIGTERM to itself"
    port = the(last, "EXPOSE").rest
    assert port in the(last, "CMD").words
    assert the(last, "HEALTHCHECK").words[-1].endswith(f":{port}")
    assert not SECRET.search(text)


def check_compose(text: str) -> dict[str, Any]:
    """What the compose specification asks for, as far as files of ours use it; the document."""
    document = yaml.safe_load(text)
    services = document["services"]
    assert {key for key in document if not key.startswith("x-")} <= {"name", "services", "volumes", "secrets"}
    for service in services.values():
        assert IMAGE.fullmatch(service["image"])
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] in CONDITIONS
            assert how["condition"] != "service_healthy" or "healthcheck" in services[other]
        for volume in service.get("volumes", []):
            assert volume.startswith((".", "/")) or volume.split(":")[0] in document["volumes"]
        for port in service.get("ports", []):
            assert re.fullmatch(r"127\.0\.0\.1:(\d+|\$\{PORT:-\d+\}):\d+", port)
        for secret in service.get("build", {}).get("secrets", []):
            assert secret in document["secrets"]
        assert all(isinstance(value, str) for value in service.get("environment", {}).values())
    assert not SECRET.search(text)
    return document
