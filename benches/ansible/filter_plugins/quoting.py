"""The quoting filters that the project's templates use, as src/role/filters.rs has them."""
import re


def env(value):
    return '"' + re.sub(r'(["\\`$])', r"\\\1", value) + '"'


def unit(value):
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def haproxy(value):
    return "'" + value.replace("'", "'\\''") + "'"


class FilterModule:
    def filters(self):
        return {"env": env, "unit": unit, "haproxy": haproxy}
