# Which ports of other hosts can be reached from here, all asked at once. Arguments: ADDRESS:PORT, and the word
# "path" before addresses to which packets as long as this host sends them are tried. perl-base is on every Debian.
# A port nobody listens on answers as well ("refused"): what counts is whether an answer comes back at all.
use strict;
use Socket qw(:all);
use Fcntl;
use Errno;
use POSIX ();

$| = 1;    # line by line: others write to the same pipe
my (@ports, @paths);
my $list = \@ports;
for (@ARGV) { if ($_ eq 'path') { $list = \@paths; } else { push @$list, $_; } }

sub nonblocking { fcntl($_[0], F_SETFL, O_NONBLOCK | fcntl($_[0], F_GETFL, 0)); }

my (%waiting, %tcp);
for my $target (@ports) {
    my ($host, $port) = $target =~ /^(.*):(\d+)$/ or next;
    my $packed = inet_aton($host);
    if (!$packed) { print "reach=$target unresolved\n"; next; }
    socket(my $socket, PF_INET, SOCK_STREAM, 0) or next;
    nonblocking($socket);
    if (connect($socket, sockaddr_in($port, $packed))) { print "reach=$target open\n"; next; }
    if ($!{EINPROGRESS}) { $waiting{fileno $socket} = [$socket, $target]; next; }
    print "reach=$target ", verdict($! + 0), "\n";
}

sub verdict {
    my ($error) = @_;
    return 'refused' if $error == POSIX::ECONNREFUSED();
    return 'no-route' if $error == POSIX::EHOSTUNREACH() || $error == POSIX::ENETUNREACH();
    return 'forbidden' if $error == POSIX::EACCES() || $error == POSIX::EPERM();
    local $! = $error;
    return "failed $!";
}

# Datagrams to a port nobody listens on: the other kernel says so, which shows that they arrived.
my @probes;
for my $host (@paths) {
    my $packed = inet_aton($host) or next;
    for my $size ('small', 'large') {
        socket(my $socket, PF_INET, SOCK_DGRAM, 0) or next;
        nonblocking($socket);
        connect($socket, sockaddr_in(33434, $packed)) or next;
        setsockopt($socket, 0, 10, pack('i', 3));    # IP_MTU_DISCOVER: IP_PMTUDISC_PROBE, never in fragments
        my $mtu = unpack('i', getsockopt($socket, 0, 14) // pack('i', 0));    # IP_MTU
        my $bytes = $size eq 'small' ? 100 : $mtu;
        next if $bytes < 100 || $bytes > 9216;    # loopback has 65536
        push @probes, { host => $host, size => $size, socket => $socket, bytes => $bytes, answer => '' };
    }
}
sub send_probe {
    my ($probe) = @_;
    return if $probe->{answer};
    return if defined send($probe->{socket}, 'x' x ($probe->{bytes} - 28), 0);
    $probe->{answer} = $!{ECONNREFUSED} ? 'arrived' : $!{EMSGSIZE} ? 'lost' : '';
}

# Datagrams that were lost by chance are sent once more after a second; a connection is, by the kernel, after one and after
# three. Nobody waits longer than it takes for that, and who was not let run meanwhile looks once more at the end.
my $begun = time;
for my $last (1, 2, 5) {
    my $datagrams = $last <= 2;
    if ($datagrams) { send_probe($_) for @probes; }
    my $over = 0;
    until ($over) {
        $over = time - $begun >= $last;
        my ($read, $write) = ('', '');
        vec($write, $_, 1) = 1 for keys %waiting;
        my @open = grep { $datagrams && !$_->{answer} } @probes;
        vec($read, fileno $_->{socket}, 1) = 1 for @open;
        last if !%waiting && !@open;
        select($read, $write, undef, $over ? 0 : 0.1);
        for my $number (keys %waiting) {
            next unless vec($write, $number, 1);
            my ($socket, $target) = @{delete $waiting{$number}};
            my $error = unpack('i', getsockopt($socket, SOL_SOCKET, SO_ERROR));
            print "reach=$target ", ($error ? verdict($error) : 'open'), "\n";
        }
        for my $probe (@open) {
            next unless vec($read, fileno $probe->{socket}, 1);
            recv($probe->{socket}, my $data, 1, 0);
            $probe->{answer} = 'arrived' if $!{ECONNREFUSED};
        }
    }
}
print "reach=$_->[1] silent\n" for values %waiting;
my %small = map { $_->{host} => $_->{answer} } grep { $_->{size} eq 'small' } @probes;
for my $probe (grep { $_->{size} eq 'large' } @probes) {
    # When not even small ones are answered it is not their length that matters.
    next unless $small{$probe->{host}} eq 'arrived';
    print "path=$probe->{host} $probe->{bytes} ", ($probe->{answer} || 'lost'), "\n";
}
