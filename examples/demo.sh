#!/usr/bin/env bash
# The demonstration, in two acts. First: starts everything, imports real purchases, and shows points, emails, and that a
# second import changes nothing. Second: the same purchases where points expire, and whether the books of a year say what
# a few lines of awk make of the file. `./run demo` builds the binary and calls this, with the binary on the path.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

# A directory for each act, begun anew each time.
DEMO=$PWD/.loyalty/demo
EXPIRING=$PWD/.loyalty/demo-expiring

# Starting takes ten seconds on a laptop.
DEMO_START_SECONDS=120

die() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

heading() {
    printf '\n== %s\n' "$*"
}

# Shows a command as it can be typed, and runs it.
show() {
    local word line='$'
    for word in "$@"; do
        [[ $word =~ ^[a-zA-Z0-9_./:=@-]+$ ]] || word="'$word'"
        line+=" $word"
    done
    printf '%s\n' "$line"
    "$@"
}

# Starts everything, with its data in this directory. Other commands find it from then on.
start() {
    local data=$1
    if [[ -e $data/rabbitmq/lock ]] && ! flock --nonblock "$data/rabbitmq/lock" true; then
        die "another demonstration is running, or still ending"
    fi
    rm -rf "$data"
    mkdir -p "$data"
    export LOYALTY_DATA=$data
    trap stop EXIT
    trap 'exit 130' INT TERM
    printf '$ loyalty dev --data %s\n' "${data#"$PWD"/}"
    # In a group of its own, so that Ctrl-C comes to it once, from `stop`; and it ends with this script.
    set -m
    setpriv --pdeathsig TERM -- loyalty dev --data "$data" >"$data.log" 2>&1 </dev/null &
    DEVS+=($!)
    set +m
    local second
    for ((second = 0; second < DEMO_START_SECONDS * 5; second++)); do
        if [[ -n $(ready_line) ]]; then
            ready_line
            return
        fi
        kill -0 "${DEVS[-1]}" 2>/dev/null || break
        sleep 0.2
    done
    tail -n 20 "$data.log" >&2
    die "it did not start"
}

ready_line() {
    grep -m 1 '^ready http' "$LOYALTY_DATA.log" || true
}

# Stops all that were started, at the same time.
DEVS=()
stop() {
    [[ ${#DEVS[@]} -eq 0 ]] || kill -TERM "${DEVS[@]}" 2>/dev/null || true
    wait
}

import_sample() {
    show loyalty import examples/cdnow-sample.csv --member customer_id --amount amount --at date --rate 10 \
        --enroll "$@" --wait
}

show_import() {
    heading "7,000 real purchases become commands: ten points a dollar"
    import_sample --email '{member}@example.com' | tee "$DEMO/import.txt"
    awk '{ gsub(",", "", $2) } $1 == "import" { seconds = $2 } $1 == "applied" { commands = $2 }
        END { if (seconds > 0) printf "\n%d commands a second, from the file to the ledger, unoptimised.\n", commands / seconds }' \
        "$DEMO/import.txt"
}

show_members() {
    heading "Who has the most points"
    show loyalty member list --top --points-min 10000 --limit 10
}

show_emails() {
    heading "The first rewards, as they went out"
    all_emails_arrived
    local email
    while IFS= read -r email; do
        printf '\n%s\n' "${email#"$PWD"/}"
        first_lines "$email"
    done < <(find "$DEMO" -name '*.eml' | sort | head -n 3)
    printf '\n%s emails, %s different Message-IDs\n' "$(emails)" \
        "$(find "$DEMO" -name '*.eml' -exec sed -n '/^Message-ID:/{p;q}' {} \; | sort -u | wc -l)"
}

emails() {
    find "$DEMO" -name '*.eml' | wc -l
}

# The emails follow the points by some seconds. They have all arrived when none came for two seconds; `verify` says
# later whether each reward has its own.
all_emails_arrived() {
    local before=-1 now deadline=$((SECONDS + 60))
    now=$(emails)
    while [[ $now -ne $before && $SECONDS -lt $deadline ]]; do
        before=$now
        sleep 2
        now=$(emails)
    done
}

# Who gets the email, its subject, and how its plain text begins.
first_lines() {
    awk '{ sub(/\r$/, "") }
        !head && /^(To|Subject):/ { print "  " $0 }
        $0 == "" { head = 1; if (plain) body = 1; next }
        tolower($0) ~ /^content-type: *text\/plain/ { plain = 1 }
        body && (/^--/ || ++lines > 4) { exit }
        body { print "    " $0 }' "$1"
}

show_repeat() {
    heading "The same file again: every command is known, no balance changes"
    local before after
    before=$(loyalty member list --points-min 1 --limit 100000 --json | cksum)
    import_sample --email '{member}@example.com'
    after=$(loyalty member list --points-min 1 --limit 100000 --json | cksum)
    if [[ $before = "$after" ]]; then
        echo "All balances are as before."
    else
        die "the second import changed balances"
    fi
}

show_verify() {
    heading "The books, checked row by row"
    show loyalty verify
}

show_expiry() {
    heading "Act two: the same purchases in a shop whose points expire after 365 days"
    export LOYALTY_CONFIG=examples/expiry.toml
    printf '$ export LOYALTY_CONFIG=%s\n' "$LOYALTY_CONFIG"
    start "$EXPIRING"
    import_sample
}

# As of the end of 1998: by now, all of it has expired.
show_books() {
    heading "The books of 1998"
    show loyalty sweep --until 1999-01-01
    show loyalty verify | sed -n '1p; /^came from/,$p'
    local books fold=(awk -f examples/expiry.awk examples/cdnow-sample.csv)
    books=$(loyalty verify --json |
        sed 's/.*"issued":\([0-9]*\).*"points":\([0-9]*\).*"expired":\([0-9]*\).*/\1 \3 \2/')
    heading "The same from the file alone, in awk: points issued, expired and left"
    show "${fold[@]}"
    [[ $books = "$("${fold[@]}")" ]] || die "the books say $books"
    echo "They agree to the point."
}

stay=no
case ${1:-} in
--stay) stay=yes ;;
'') ;;
*) die "knows only --stay" ;;
esac
heading "A private PostgreSQL and RabbitMQ, a worker, the HTTP bridge and a mailbox"
start "$DEMO"
show_import
show_members
show_emails
show_repeat
show_verify
show_expiry
show_books
if [[ $stay = yes ]]; then
    LOYALTY_DATA=$DEMO
    heading "Still $(ready_line)"
    echo "In another terminal: export LOYALTY_DATA=$DEMO, or $EXPIRING with LOYALTY_CONFIG=$PWD/$LOYALTY_CONFIG"
    echo "Ctrl-C ends it."
    wait "${DEVS[0]}" || true
fi
