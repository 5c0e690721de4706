# seed DIR ADDRESS: serves the files of a directory to whoever knows the token; says the port and the token on its first
# line, and ends when its standard input does. pull DIR: standard input has address, port and token in its first line, then
# digest and size of what is to be fetched, a line each; goes on where an earlier one was cut off.
use strict;
use warnings;
use IO::Socket::INET;
use IO::Select;

my ($verb, $directory, $address) = @ARGV;
my ($port, $token);
chdir $directory or die "cannot use $directory: $!\n";
umask 022;
$| = 1;
$SIG{PIPE} = 'IGNORE';

sub seed {
    open my $random, '<', '/dev/urandom' or die "no random numbers: $!\n";
    read $random, my $bytes, 16;
    $token = unpack 'H*', $bytes;
    my $listener = IO::Socket::INET->new(LocalAddr => $address, LocalPort => 0, Listen => 64) or die "cannot listen: $@\n";
    print 'at ', $listener->sockport, " $token\n";
    $SIG{CHLD} = 'IGNORE';
    my $served = 0;
    my $select = IO::Select->new($listener, \*STDIN);
    while (1) {
        for my $ready ($select->can_read) {
            if ($ready == $listener) {
                my $client = $listener->accept or next;
                next if ++$served > 10_000 or fork;
                serve($client);
                exit;
            }
            # whoever has started this is gone, or has no more use for it
            exit if sysread(STDIN, my $byte, 1) <= 0;
        }
    }
}

sub serve {
    my ($client) = @_;
    while (1) {
        # nobody is waited for who asks nothing, and no request is long
        alarm 300;
        my $line = '';
        while ($line !~ /\n/) {
            return if length $line > 200 or sysread($client, $line, 1, length $line) != 1;
        }
        my ($known, $digest, $offset) = $line =~ /^([0-9a-f]{32}) ([0-9a-f]{64}) ([0-9]+)$/ or return;
        return if $known ne $token;
        open my $file, '<:raw', "$digest.deb" or return;
        seek $file, $offset, 0;
        while (read $file, my $part, 1 << 17) {
            print {$client} $part or return;
        }
    }
}

sub pull {
    my $server;
    ($address, $port, $token) = split ' ', <STDIN>;
    while (my $line = <STDIN>) {
        my ($digest, $size) = split ' ', $line;
        last if $digest eq 'end';
        my $part = ".$digest.part";
        my $have = -s $part || 0;
        $have = 0 if $have > $size;
        $server ||= IO::Socket::INET->new(PeerAddr => $address, PeerPort => $port, Timeout => 5)
            or die "cannot reach $address:$port: $@\n";
        print {$server} "$token $digest $have\n";
        $server->flush;
        open my $file, $have ? '+<:raw' : '>:raw', $part or die "cannot write: $!\n";
        seek $file, $have, 0;
        my $bytes;
        while ($have < $size) {
            my $wanted = $size - $have < 1 << 17 ? $size - $have : 1 << 17;
            # one that has fallen silent is not waited for
            alarm 60;
            my $count = read $server, $bytes, $wanted;
            alarm 0;
            die "$address broke off\n" unless $count;
            print {$file} $bytes or die "cannot write: $!\n";
            $have += $count;
        }
        close $file or die "cannot write: $!\n";
        if (system("echo '$digest  $part' | sha256sum -c --status") == 0) {
            rename $part, "$digest.deb";
            print "good $digest\n";
        } else {
            unlink $part;
            print "bad $digest\n";
        }
    }
    print "end\n";
}

$verb eq 'seed' ? seed() : pull();
