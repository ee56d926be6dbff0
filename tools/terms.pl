#!/usr/bin/perl
# SPDX-License-Identifier: MIT OR Apache-2.0
# The core of tools/terms.sh: reads file names from standard input.
use strict;
use warnings;
use utf8;
binmode STDOUT, ':utf8';

my $COLUMNS = 100;

sub lines_of {
    my ($path) = @_;
    open my $file, '<:utf8', $path or die "terms: $path: $!\n";
    my @lines = grep { !/^#/ && /\S/ } <$file>;
    chomp @lines;
    return @lines;
}

my @terms = map { [split /\t/, $_, 2] } lines_of('tools/terms.txt');
for my $term (@terms) {
    die "terms: no hint: $term->[0]\n" unless defined $term->[1];
    $term->[2] = qr/^(?:$term->[0])$/i;
}
# A word ends at anything that is no letter, and within an identifier at a capital after a small
# letter.
my $all = join '|', map { $_->[0] } @terms;
my $retired = qr/(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))((?i:$all))(?![a-z]|(?<=[A-Z]{2})[A-Z])/;

# PATH<TAB>TEXT<TAB>REASON: a hit in a file that fits PATH ("*" stands for any text) is allowed if
# its line contains TEXT.
my @allowed;
for my $line (lines_of('tools/terms-allowed.txt')) {
    my ($path, $text, $reason) = split /\t/, $line, 3;
    die "terms: an entry of tools/terms-allowed.txt needs PATH, TEXT and REASON: $line\n" unless $reason;
    my $glob = join '.*', map { quotemeta } split /\*/, $path, -1;
    push @allowed, { line => $line, path => qr/^$glob$/, text => $text, used => 0 };
}

my $found = 0;

sub is_allowed {
    my ($path, $line) = @_;
    for my $entry (@allowed) {
        if ($path =~ $entry->{path} && index($line, $entry->{text}) >= 0) {
            $entry->{used}++;
            return 1;
        }
    }
    return 0;
}

sub report {
    my ($path, $number, $what, $hint) = @_;
    print "$path:$number: $what: $hint\n";
    $found++;
}

# Whether a long line could have been broken: not if a single word makes it long.
sub is_breakable {
    my ($text) = @_;
    $text =~ s/^\s*(?:[-*+>]|\d+\.|\/\/[\/!]?|#+)?\s*//;
    return substr($text, 0, $COLUMNS) =~ /\s\S/;
}

# The comment in a line of code, or nothing.
sub comment_of {
    my ($kind, $line) = @_;
    if ($kind eq 'c') {
        return $line if $line =~ m{^\s*(?://|/\*|\*(?:\s|/|$))};
        # After code: not within a string.
        return $line if $line =~ m{^((?:[^"]|"(?:[^"\\]|\\.)*")*)\s//\s} && $1 !~ /"[^"]*$/;
        return;
    }
    return $line if $line =~ /^\s*#(?!!\[)/;
    return $line if $line =~ /^(?:[^"'#]|"[^"]*"|'[^']*')*\s#\s/;
    return;
}

while (my $path = <STDIN>) {
    chomp $path;
    next unless -f $path && !-B $path;
    open my $file, '<:utf8', $path or next;
    my $patch = $path =~ /\.patch$/;
    my $markdown = $path =~ /\.md$/;
    my $kind = $path =~ /\.(?:rs|c|h|hpp|cpp|js)$/ ? 'c'
        : $path =~ /\.(?:sh|py|pyi|toml|rules|conf|service|socket|in|pl)$|Makefile$|\.ci\/run$/ ? 'hash'
        : '';
    my $fenced = 0;
    my $blank = 1;
    while (my $line = <$file>) {
        chomp $line;
        # Of a patch, what it adds.
        next if $patch && $line !~ /^\+(?!\+\+)/;
        if ($line =~ $retired && !is_allowed($path, $line)) {
            while ($line =~ /$retired/g) {
                my $word = $1;
                my ($term) = grep { $word =~ $_->[2] } @terms;
                report($path, $., $word, $term ? $term->[1] : 'retired');
            }
        }
        my $prose = 0;
        if ($markdown) {
            $fenced = !$fenced if $line =~ /^\s*```/;
            my $code = $fenced || $line =~ /^\s*```/ || ($line =~ /^ {4}/ && $blank);
            $prose = !$code && $line !~ /^\s*\|/;
            # Within an indented block the next line is code too.
            $blank = $line =~ /^\s*$/ || ($code && !$fenced && $line =~ /^ {4}/);
        }
        elsif ($kind && length $line > $COLUMNS) {
            my $comment = comment_of($kind, $line);
            # A table in a doc comment can't be broken.
            $prose = defined $comment && $comment !~ m{^\s*//[/!]\s*\|};
        }
        if ($prose && length $line > $COLUMNS && is_breakable($line) && !is_allowed($path, $line)) {
            report($path, $., length($line) . ' columns', "wrap at $COLUMNS");
        }
    }
    close $file;
}

if ($ENV{WHOLE}) {
    for my $entry (grep { !$_->{used} } @allowed) {
        report('tools/terms-allowed.txt', 0, 'unused entry', $entry->{line});
    }
}
if ($found) {
    print STDERR "terms: $found found; STYLE: the field's terms, 100 columns\n";
    exit 1;
}
