# The host's own IPv4 addresses, the TCP sockets that listen, and which processes hold them. Numbers instead of the
# names of the module Socket, since loading that takes longer than all of this.
use strict;
use warnings;

sub words {
    my ($path) = @_;
    open my $file, '<', $path or return '';
    local $/;
    return <$file> // '';
}

# In the routing trie a local address is a leaf followed by "/32 host LOCAL".
my %told;
for my $address (words('/proc/net/fib_trie') =~ m{\|-- (\S+)\n\s*/32 host LOCAL}g) {
    print "address=$address\n" unless $told{$address}++;
}

# Of one address family, as ADDRESS:PORT and inode. The kernel is asked for those that listen (inet_diag, as `ss`
# does): /proc/net/tcp walks through the table of all connections, which has as many places as the memory allows.
sub listening {
    my ($family) = @_;
    socket(my $kernel, 16, 3, 4) or return;    # AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG
    # SOCK_DIAG_BY_FAMILY with NLM_F_REQUEST | NLM_F_DUMP, then inet_diag_req_v2: TCP in state LISTEN (10)
    my $request = pack 'L S S L L C C x x L x48', 72, 20, 0x301, 1, 0, $family, 6, 1 << 10;
    defined send($kernel, $request, 0) or return;
    my @found;
    while (1) {
        defined recv($kernel, my $answer, 1 << 16, 0) or return;
        while (length $answer >= 16) {
            my ($length, $type) = unpack 'L S', $answer;
            # NLMSG_DONE, and why where there is nothing
            return (unpack '@16 l', $answer) ? undef : \@found if $type == 3;
            return if $type != 20 || $length < 88;
            # inet_diag_msg: the port at 4, the address at 8, the inode at 68
            my ($port, @address) = unpack $family == 2 ? '@20 n @24 L' : '@20 n @24 L4', $answer;
            my ($inode) = unpack '@84 L', $answer;
            push @found, [sprintf('%08X' x @address . ':%04X', @address, $port), $inode];
            $answer = substr $answer, ($length + 3) & ~3;
        }
    }
}

# Where the kernel has no module for that and loads none.
sub listening_in {
    my ($table) = @_;
    my @lines = map { [split] } split /\n/, words($table);
    return [map { [$_->[1], $_->[9]] } grep { @$_ > 9 && $_->[3] eq '0A' } @lines];
}

my $here = readlink('/proc/self/ns/pid') // '';

sub look {
    my @sockets = (
        @{listening(2) // listening_in('/proc/net/tcp')},      # AF_INET
        @{listening(10) // listening_in('/proc/net/tcp6')},    # AF_INET6
    );
    my %unheld = map { $_->[1] => 1 } @sockets;
    my @lines = map { "listen=$_->[0] $_->[1]\n" } @sockets;
    for my $process (sort { $a <=> $b } map { m{(\d+)} } glob '/proc/[0-9]*') {
        opendir my $open, "/proc/$process/fd" or next;
        for my $number (readdir $open) {
            my ($inode) = (readlink "/proc/$process/fd/$number" // '') =~ /^socket:\[(\d+)\]$/ or next;
            next unless exists $unheld{$inode};
            $unheld{$inode} = 0;
            chomp(my $name = words("/proc/$process/comm"));
            # The working directory of PostgreSQL is its data directory.
            # That of a container is no place here. (Services have mounts of their own, and containers processes.)
            my $directory = (readlink("/proc/$process/ns/pid") // '') eq $here ? readlink "/proc/$process/cwd" : undef;
            $directory //= '/';
            # A process calls itself what it likes, and each line is a fact.
            tr/\n/?/ for $name, $directory;
            push @lines, "holder=$inode $directory $name\n";
        }
    }
    return (\@lines, scalar grep { $_ } values %unheld);
}

my ($lines, $unheld) = look();
# One that ends in between is told of as listening and holds nothing any more: then all is looked at once more.
if ($unheld) {
    select undef, undef, undef, 0.2;
    ($lines) = look();
}
print @$lines;
