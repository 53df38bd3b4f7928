# The init of a virtual host: sets it up, then runs every line that comes on its console.
# Argument: its address, with the length of the prefix.
export LC_ALL=C TZ=UTC0 RUST_LOG_STYLE=never

mount -t proc proc /proc
mount -t sysfs sysfs /sys
ln -s /proc/self/fd /dev/fd
ip link set lo up
ip address add "$1" dev vec0
ip link set vec0 up

# Reads the clock over and over, as fast as a shell can: a reading takes some 60 µs here.
read_clock() {
    while :; do
        printf '%s\n' $EPOCHREALTIME $EPOCHREALTIME $EPOCHREALTIME $EPOCHREALTIME $EPOCHREALTIME \
            $EPOCHREALTIME $EPOCHREALTIME $EPOCHREALTIME $EPOCHREALTIME $EPOCHREALTIME
    done
}

# Reads the clock in the background until $watcher is killed; then tells what was seen.
watch_clock() {
    read_clock > >(awk '
        $1 < last { backwards++ }
        { last = $1 }
        END { print "Clock read " NR " times, ran backwards " backwards + 0 " times" }') &
    watcher=$!
}

# Nobody sits at this console: what is typed is not to be shown again.
stty -echo -onlcr
echo ready
while read -r line; do
    eval "$line"
done
