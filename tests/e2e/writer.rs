//! A client that never stops writing: through HAProxy, as the application, with a new connection whenever the old one is
//! lost. It keeps a ledger of every row whose commit was acknowledged, so that a test can ask afterwards whether one of
//! them is gone, and for how long nobody could write.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::harness::BINARY;
use crate::site::Site;

/// Runs on a PostgreSQL host, which has psycopg2 because Patroni needs it. It ends when its standard input does.
/// `sslmode=prefer` is libpq's own default: with TLS where the server has it, so the same client outlives a conversion.
const CLIENT: &str = r"
import itertools, sys, threading, time
import psycopg2

host, port, statement = sys.argv[1:]
stopped = threading.Event()
numbers = itertools.count(1)
password = sys.stdin.readline().strip()
threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()

def connect():
    return psycopg2.connect(host=host, port=port, user='xnat', dbname='xnat', password=password, connect_timeout=2,
                            tcp_user_timeout=3000, options='-c statement_timeout=3000')

def write(connection):
    while not stopped.is_set():
        number = next(numbers)
        with connection.cursor() as cursor:
            cursor.execute(statement, (number,))
        connection.commit()
        print(number, time.monotonic(), flush=True)
        stopped.wait(0.05)

while not stopped.is_set():
    connection = None
    try:
        connection = connect()
        write(connection)
    except psycopg2.Error as error:
        print(str(error).strip().splitlines()[-1:], file=sys.stderr, flush=True)
        stopped.wait(0.05)
    finally:
        if connection:
            connection.close()
";

/// It writes until it is stopped.
pub struct Writer {
    client: Child,
    acknowledged: JoinHandle<Vec<(u64, f64)>>,
}

/// Every acknowledged row, and when (in seconds of the writer's own clock).
pub struct Ledger {
    acknowledged: Vec<(u64, f64)>,
}

impl Writer {
    /// Begin to write from a PostgreSQL host, through the first HAProxy; returns when the first rows are acknowledged.
    #[track_caller]
    pub fn start(site: &Site, from: &str) -> Self {
        let port = site.number("/inventory/haproxy/primary_port");
        site.psql(port, "DROP TABLE IF EXISTS ledger; CREATE TABLE ledger (n bigint PRIMARY KEY)").expect(0);
        Self::client(site, (from, port), "INSERT INTO ledger VALUES (%s)")
    }

    /// The same for a client that only reads, from the replicas.
    #[track_caller]
    pub fn start_reading(site: &Site, from: &str) -> Self {
        Self::client(site, (from, site.number("/inventory/haproxy/replica_port")), "SELECT %s")
    }

    #[track_caller]
    fn client(site: &Site, (from, port): (&str, u64), statement: &str) -> Self {
        let balancer = site.address(&site.hosts("haproxy")[0]);
        let script = CLIENT.replace('\'', "\"");
        let program = format!("python3 -u -c '{script}' {balancer} {port} \"{statement}\"");
        let mut client = Command::new(BINARY)
            .args(["lab", "ssh", "--name", site.lab.name(), from, "--", &program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program runs");
        let input = client.stdin.as_mut().expect("it is piped");
        std::io::Write::write_all(input, format!("{}\n", site.application_password()).as_bytes()).expect("it reads");
        let mut lines = BufReader::new(client.stdout.take().expect("it is piped")).lines();
        let first = lines.next().expect("the writer was let in").expect("it is text");
        let acknowledged = std::thread::spawn(move || {
            std::iter::once(first).chain(lines.map_while(Result::ok)).filter_map(|line| parse(&line)).collect()
        });
        Self { client, acknowledged }
    }

    /// Stop, and see what was acknowledged.
    #[track_caller]
    pub fn stop(mut self) -> Ledger {
        drop(self.client.stdin.take());
        let acknowledged = self.acknowledged.join().expect("the reader does not panic");
        let ended = self.client.wait().expect("it was started here");
        assert!(ended.success(), "the writer itself failed: {ended}");
        Ledger { acknowledged }
    }
}

fn parse(line: &str) -> Option<(u64, f64)> {
    let (number, at) = line.split_once(' ')?;
    Some((number.parse().ok()?, at.parse().ok()?))
}

impl Ledger {
    pub fn count(&self) -> usize {
        self.acknowledged.len()
    }

    /// The longest time from one acknowledged row to the next: so long could nobody write.
    pub fn longest_pause(&self) -> Duration {
        let gaps = self.acknowledged.windows(2).map(|pair| pair[1].1 - pair[0].1);
        Duration::from_secs_f64(gaps.fold(0.0, f64::max))
    }

    /// Acknowledged rows that are not in the database.
    #[track_caller]
    pub fn lost(&self, site: &Site) -> Vec<u64> {
        let port = site.number("/inventory/haproxy/primary_port");
        let kept = site.psql(port, "SELECT n FROM ledger").expect(0).stdout;
        let kept: std::collections::BTreeSet<u64> = kept.lines().filter_map(|line| line.parse().ok()).collect();
        self.acknowledged.iter().map(|(number, _)| *number).filter(|number| !kept.contains(number)).collect()
    }
}
