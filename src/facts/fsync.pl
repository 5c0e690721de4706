# How long a write takes to be on the disk, as etcd writes its log: small appends, each synced. Argument: a directory,
# in which a file is made and removed. Bounded in number and time. Prints how many, then the median and the 99th percentile in microseconds.
use strict;
use Fcntl;
use IO::Handle;

my ($directory) = @ARGV;
my %clock = (x86_64 => 228, aarch64 => 113);    # clock_gettime
my (undef, undef, undef, undef, $machine) = (require POSIX) && POSIX::uname();
my $number = $clock{$machine} or exit 0;
sub now { my $time = "\0" x 16; syscall($number, 1, $time); my ($s, $ns) = unpack('q q', $time); return $s * 1e6 + $ns / 1e3; }

my $path = "$directory/.xnat-fsync.$$";
sysopen(my $file, $path, O_WRONLY | O_CREAT | O_EXCL, 0600) or exit 0;
unlink $path;
my @times;
my $end = now() + 1.5e6;
while (@times < 200 && now() < $end) {
    my $begun = now();
    last unless syswrite($file, 'x' x 2300);
    last unless $file->sync;
    push @times, now() - $begun;
}
@times = sort { $a <=> $b } @times;
printf "fsync=%d %d %d\n", scalar @times, $times[@times / 2], $times[@times * 0.99] if @times >= 20;
