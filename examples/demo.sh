#!/usr/bin/env bash
# The demonstration: starts everything, imports real purchases, and shows points, emails, and that a second import
# changes nothing. `./run demo` builds the binary and calls this, with the binary on the path.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

# A directory of its own, begun anew each time.
DEMO=$PWD/.loyalty/demo

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

start_demo() {
    heading "A private PostgreSQL and RabbitMQ, a worker, the HTTP bridge and a mailbox"
    if [[ -e $DEMO/rabbitmq/lock ]] && ! flock --nonblock "$DEMO/rabbitmq/lock" true; then
        die "another demonstration is running, or still ending"
    fi
    rm -rf "$DEMO"
    mkdir -p "$DEMO"
    export LOYALTY_DATA=$DEMO
    trap stop_demo EXIT
    trap 'exit 130' INT TERM
    printf '$ loyalty dev --data %s\n' "${DEMO#"$PWD"/}"
    # In a group of its own, so that Ctrl-C comes to it once, from `stop_demo`; and it ends with this script.
    set -m
    setpriv --pdeathsig TERM -- loyalty dev --data "$DEMO" >"$DEMO.log" 2>&1 </dev/null &
    DEV=$!
    set +m
    local second
    for ((second = 0; second < DEMO_START_SECONDS * 5; second++)); do
        if [[ -n $(ready_line) ]]; then
            ready_line
            return
        fi
        kill -0 "$DEV" 2>/dev/null || break
        sleep 0.2
    done
    tail -n 20 "$DEMO.log" >&2
    die "it did not start"
}

ready_line() {
    grep -m 1 '^ready http' "$DEMO.log" || true
}

stop_demo() {
    if [[ -n ${DEV:-} ]] && kill -TERM "$DEV" 2>/dev/null; then
        wait "$DEV" || true
    fi
}

import_sample() {
    show loyalty import examples/cdnow-sample.csv --member customer_id --amount amount --at date --rate 10 \
        --enroll --email '{member}@example.com' --wait
}

show_import() {
    heading "7,000 real purchases become commands: ten points a dollar"
    import_sample | tee "$DEMO/import.txt"
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
    import_sample
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

stay=no
case ${1:-} in
--stay) stay=yes ;;
'') ;;
*) die "knows only --stay" ;;
esac
start_demo
show_import
show_members
show_emails
show_repeat
show_verify
if [[ $stay = yes ]]; then
    heading "Still $(ready_line)"
    echo "In another terminal: export LOYALTY_DATA=$DEMO"
    echo "Ctrl-C ends it."
    wait "$DEV" || true
fi
