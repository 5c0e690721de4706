"""What Patroni and its PostgreSQL are set up to do: one line with JSON. Reads only, and prints no password.

Run by the Python that runs Patroni, so what reads its files is there; nothing newer than Python 3.7 otherwise.
"""
import json
import os
import re
import shutil
import ssl
import subprocess
import urllib.request

PROBLEMS = []


def tried(what, function, *arguments):
    try:
        return function(*arguments)
    except Exception as error:  # whatever it is, the rest is still worth telling
        PROBLEMS.append(" ".join("{}: {}".format(what, error).split()))
        return None


def words(pid):
    with open("/proc/{}/cmdline".format(pid), "rb") as file:
        return file.read().decode(errors="replace").split("\0")[:-1]


def is_patroni(argv):
    names = [os.path.basename(word) for word in argv[:2]]
    return "patroni" in names or argv[1:3] == ["-m", "patroni"]


def running():
    """The process number of Patroni itself: the oldest, since it starts others of the same name."""
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            if is_patroni(words(pid)):
                return pid
        except OSError:
            pass  # it has ended meanwhile
    return None


def argument(argv):
    """The file or directory with its settings."""
    paths = [word for word in argv if word.startswith("/") and os.path.exists(word)]
    return paths[-1] if len(paths) > 1 else None


def of_units():
    """What it would be started with, where it does not run: unit and settings."""
    shown = subprocess.run(["systemctl", "show", "-p", "Id", "-p", "ExecStart", "patroni.service", "patroni@*.service"],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10)
    for block in shown.stdout.decode(errors="replace").split("\n\n"):
        unit = re.search(r"^Id=(.*)$", block, re.M)
        argv = re.search(r"argv\[\]=(.*?) ;", block)
        path = argument(argv.group(1).split()) if argv else None
        if unit and path:
            return unit.group(1), path
    return None, None


def unit_of(pid):
    with open("/proc/{}/cgroup".format(pid)) as file:
        last = file.readline().strip().rsplit("/", 1)[-1]
    return last if last.endswith(".service") else None


def merge(into, new):
    """As Patroni makes one configuration of several files."""
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            merge(into[name], value)
        else:
            into[name] = value
    return into


def load(path):
    import yaml
    files = [path]
    if os.path.isdir(path):
        files = [os.path.join(path, name) for name in sorted(os.listdir(path)) if name.endswith((".yml", ".yaml"))]
    config = {}
    for name in files:
        with open(name) as file:
            merge(config, yaml.safe_load(file) or {})
    return config


def clean(value):
    """Without passwords, and without what only the first start of a cluster reads."""
    if isinstance(value, dict):
        secret = re.compile("(password|passphrase|pgpass|passfile|secret|token)$|^bootstrap$", re.I)
        return {str(name): clean(inner) for name, inner in value.items() if not secret.search(str(name))}
    if isinstance(value, list):
        return [clean(inner) for inner in value]
    if isinstance(value, str):
        return re.sub(r"(?i)\b(password)\s*=\s*\S+", r"\1=***", value)
    return value if isinstance(value, (bool, int, float, type(None))) else str(value)


def rest(config, path):
    """Patroni's REST API. It is asked on its own host, by root: whose certificate it shows is not the question here."""
    api = config.get("restapi") or {}
    ctl = config.get("ctl") or {}
    context = None
    if api.get("certfile"):
        context = ssl._create_unverified_context()
        pair = [(ctl.get("certfile"), ctl.get("keyfile")), (api.get("certfile"), api.get("keyfile"))]
        for certificate, key in pair:
            if certificate:
                tried(certificate, context.load_cert_chain, certificate, key, "")
                break
    address = api.get("connect_address") or api.get("listen") or "127.0.0.1:8008"
    url = "{}://{}{}".format("https" if context else "http", address, path)
    handlers = [urllib.request.ProxyHandler({})]
    handlers += [urllib.request.HTTPSHandler(context=context)] if context else []
    with urllib.request.build_opener(*handlers).open(url, timeout=5) as answer:
        return json.loads(answer.read().decode())


def show_config(path):
    import yaml
    program = shutil.which("patronictl") or "/usr/bin/patronictl"
    shown = subprocess.run([program, "-c", path, "show-config"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=20)
    if shown.returncode:
        raise RuntimeError(shown.stderr.decode(errors="replace").strip()[-300:])
    return yaml.safe_load(shown.stdout.decode())


def certificate(path):
    with open(path) as file:
        text = file.read()
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return text[text.index(begin):text.index(end) + len(end)] + "\n"


SERVER = """SELECT json_build_object(
    'version', current_setting('server_version_num')::int / 10000,
    'parameters', (SELECT json_object_agg(name, current_setting(name)) FROM pg_settings
                   WHERE name = ANY (string_to_array('PARAMETERS', ' '))),
    'databases', (SELECT coalesce(json_agg(json_build_object(
        'name', datname, 'owner', rolname, 'superuser', rolsuper, 'encoding', pg_encoding_to_char(encoding),
        'collate', datcollate, 'ctype', datctype, 'provider', to_jsonb(d) ->> 'datlocprovider',
        'size', pg_database_size(d.oid)) ORDER BY datname), '[]')
        FROM pg_database d JOIN pg_roles r ON r.oid = datdba WHERE NOT datistemplate AND datallowconn))"""
EXTENSIONS = "SELECT coalesce(json_agg(extname ORDER BY extname), '[]') FROM pg_extension WHERE extname <> 'plpgsql'"


class Psql:
    def __init__(self, config, dynamic, pid):
        postgresql = config.get("postgresql") or {}
        parameters = dict((dynamic.get("postgresql") or {}).get("parameters") or {}, **(postgresql.get("parameters") or {}))
        login = (postgresql.get("authentication") or {}).get("superuser") or {}
        socket = str(parameters.get("unix_socket_directories") or "/var/run/postgresql").split(",")[0].strip()
        host, _, self.port = str(postgresql.get("listen") or "*:5432").rpartition(":")
        self.hosts = [socket] + [one for one in host.split(",") if one and one not in ("*", "0.0.0.0", "::")][:1]
        self.user = login.get("username") or "postgres"
        self.program = shutil.which("psql", path=postgresql.get("bin_dir") or None) or shutil.which("psql") or "psql"
        self.owner = os.stat("/proc/{}".format(pid)) if pid else os.stat(postgresql["data_dir"])
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PGCONNECT_TIMEOUT": "5",
                            "PGOPTIONS": "-c default_transaction_read_only=on -c statement_timeout=20s"}
        if login.get("password"):
            self.environment["PGPASSWORD"] = str(login["password"])

    def become_owner(self):
        os.setgid(self.owner.st_gid)
        os.setuid(self.owner.st_uid)

    def json(self, sql, database="postgres"):
        for host in self.hosts:
            command = [self.program, "-XAtqw", "-h", host, "-p", self.port, "-U", self.user, "-d", database, "-c", sql]
            ran = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env=self.environment, cwd="/", preexec_fn=self.become_owner, timeout=30)
            if not ran.returncode:
                return json.loads(ran.stdout.decode())
        raise RuntimeError(ran.stderr.decode(errors="replace").strip()[-300:])

    def look(self):
        server = self.json(SERVER.replace("PARAMETERS", os.environ.get("XP_PARAMETERS", "")))
        for database in server["databases"][:50]:
            database["extensions"] = tried(database["name"], self.json, EXTENSIONS, database["name"]) or []
        return server


def hba_file(config):
    """Where Patroni does not write pg_hba.conf, somebody else does."""
    with open(os.path.join(config["postgresql"]["data_dir"], "pg_hba.conf")) as file:
        return [line.split("#")[0].strip() for line in file if line.split("#")[0].strip()]


def look():
    pid = running()
    if pid:
        unit, path = tried("unit", unit_of, pid), argument(words(pid))
    else:
        unit, path = tried("units", of_units) or (None, None)
    if not path:
        return None
    config = tried(path, load, path) or {}
    found = {"path": path, "unit": unit, "running": bool(pid), "config": clean(config)}
    if pid:
        with open("/proc/{}/environ".format(pid), "rb") as file:
            names = [entry.split("=", 1)[0] for entry in file.read().decode(errors="replace").split("\0")]
        found["variables"] = sorted(name for name in names if name.startswith("PATRONI_"))
        dynamic = tried("its REST API", rest, config, "/config") or tried("patronictl", show_config, path)
        found["dynamic"] = clean(dynamic)
        found["members"] = (tried("its REST API", rest, config, "/cluster") or {}).get("members") or []
        psql = tried("psql", Psql, config, dynamic or {}, pid)
        found["server"] = tried("PostgreSQL", psql.look) if psql else None
    postgresql = config.get("postgresql") or {}
    written = postgresql.get("pg_hba") or ((found.get("dynamic") or {}).get("postgresql") or {}).get("pg_hba")
    found["hba"] = written or tried("pg_hba.conf", hba_file, config) or []
    files = {"patroni": (config.get("restapi") or {}).get("certfile"),
             "postgres": (postgresql.get("parameters") or {}).get("ssl_cert_file")}
    found["certificates"] = {name: tried(path, certificate, path) for name, path in files.items() if path}
    return found


FOUND = tried("Patroni", look)
if FOUND:
    print("patroni_found=" + json.dumps(dict(FOUND, problems=PROBLEMS)))
for problem in [] if FOUND else PROBLEMS:
    print("patroni_problem=" + problem)
