# Takes a host's lock and holds it; what is said by whom stands in hold.rs. One process, since a shell would need
# seven others for it, and two more for each line it hears.
use strict;

my ($directory, $history, $run, $claim, $lease, $keep) = @ARGV;
$| = 1;

sub fail { print STDERR "$_[0]: $!\n"; exit 1; }

-d $directory or mkdir $directory, 0755 or -d $directory or fail("cannot make $directory");
chdir $directory or fail("cannot use $directory");
open my $lock, '>>', 'lock' or fail("cannot write $directory/lock");

# Whose turn it is or was: its number, its run, and its claim.
sub holder {
    open my $file, '<', 'holder' or return (0, '', '');
    my ($number, $other) = split ' ', <$file> // '';
    my $theirs = <$file> // '';
    chomp $theirs;
    return (($number // '') =~ /^\d+$/ ? $number : 0, $other // '', $theirs);
}

# Of two runs that each hold a host the other wants, one must give up soon and the other must not: the older waits
# longer (names of runs begin with their time). So does one that has just given back its own. In tenths of a second.
my $waited = 0;
until (flock $lock, 2 | 4) {    # LOCK_EX | LOCK_NB
    my (undef, $other, $theirs) = holder();
    if ($waited++ >= ($other ge $run ? 40 : 10)) { print "taken $theirs\n"; exit; }
    select undef, undef, undef, 0.1;
}
my ($number) = holder();
$number++;

# Never half a file: the new one takes the old one's place.
sub replace {
    my ($path, @lines) = @_;
    open my $file, '>', "$path.new" or return 0;
    print $file @lines or return 0;
    close $file or return 0;
    return rename "$path.new", $path;
}
replace('holder', "$number $run\n", "$claim\n") or fail("cannot write $directory/holder");
print "mine $number\n";

sub note {
    my ($line) = @_;
    my ($place) = $history =~ m{^(.*)/};
    -d $place or mkdir $place, 0755 or return 0;
    my @lines;
    if (-e $history) {
        open my $file, '<', $history or return 0;
        @lines = <$file>;
        splice @lines, 0, @lines - $keep if @lines > $keep;
    }
    return replace($history, @lines, "$line\n");
}

# The next line; nothing when the input ends, or has been silent for as long as a lease.
my $heard = '';
sub next_line {
    while (1) {
        return $1 if $heard =~ s/^(.*)\n//;
        vec(my $input = '', fileno STDIN, 1) = 1;
        select($input, undef, undef, $lease) > 0 or return;
        sysread STDIN, $heard, 65536, length $heard or return;
    }
}

while (defined(my $line = next_line())) {
    my ($count, $word, $rest) = split / /, $line, 3;
    close $lock if $word eq 'end';
    my $answer = $word ne 'note' || note($rest) ? 'done' : 'failed';
    print "$count $answer\n";
    exit if $word eq 'end';
}
