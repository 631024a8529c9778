#!/bin/sh
# Who may do what on the broker: sets the permissions of users that are there already (`rabbitmqctl add_user`), in one
# virtual host. Again changes nothing. docs/operating.md has the same as a table.
#
#   permissions.sh VHOST publisher=shop worker=loyalty_worker bridge=loyalty_bridge operator=loyalty_operator
#
# A listener's queues must begin with its user's name and a dot: `dashboard.points`.
set -eu

vhost=${1:?the virtual host}
shift

# USER CONFIGURE WRITE READ: regular expressions for what it may declare or delete, publish to or bind, consume or bind from.
permit() { rabbitmqctl set_permissions -p "$vhost" "$1" "$2" "$3" "$4"; }

for pair in "$@"; do
    user=${pair#*=}
    case ${pair%%=*} in
    publisher) permit "$user" '^$' '^loyalty\.commands$' '^$' ;;
    bridge) permit "$user" '^$' '^loyalty\.commands$' '^$' ;;
    worker) permit "$user" '^$' '^loyalty\.(commands|emails|events)$' '^loyalty\.(commands\..+|emails|dead\..+|unrouted)$' ;;
    # Before RabbitMQ 4.3.1, who asks how many messages a queue holds must be allowed to declare it. Without that, a
    # worker there works too, and shows no depths of queues.
    worker-before-4.3.1) permit "$user" '^loyalty\.(commands\..+|emails.*|dead\..+|unrouted)$' '^loyalty\.(commands|emails|events)$' '^loyalty\.(commands\..+|emails|dead\..+|unrouted)$' ;;
    listener) permit "$user" "^$user\..+$" "^$user\..+$" "^($user\..+|loyalty\.events)$" ;;
    operator) permit "$user" '^loyalty\.' '^loyalty\.' '^loyalty\.' ;;
    *) echo "${pair%%=*} is none of publisher, bridge, worker, worker-before-4.3.1, listener, operator" >&2 && exit 2 ;;
    esac
done
