# Of folded stacks, with kernel frames marked `_[k]`: whose the time is, as tables in Markdown.
# -v all=N is the sum of all counts.

function owner(frame,    name) {
    if (frame ~ /_\[k\]$/) return "kernel"
    name = frame
    sub(/^[<&( ]+/, "", name)
    sub(/^dyn /, "", name)
    if (name ~ /^millpond/) return "millpond"
    if (name ~ /^(std|core|alloc|__rust|rust_)/) return "Rust's library"
    if (name ~ /^tokio/) return "tokio, mio"
    if (name ~ /^mio::/) return "tokio, mio"
    if (name ~ /^(hyper|hyper_util|httparse|http|http_body|http_body_util)::/) return "hyper, http, httparse"
    if (name ~ /^_?mi_/) return "mimalloc"
    if (name ~ /^(sqlite3|balance|pcache1|pager|walIndex|wal|vdbe|btree|insertCell|moveTo|cellSize)/) return "SQLite"
    if (name ~ /^[a-z_0-9]+::/) { sub(/::.*/, "", name); return name }
    return "C"
}

function print_table(sums, most, mark,    command, key) {
    # The table goes out in one piece, behind what was printed before.
    fflush()
    command = "sort -t'|' -k1,1 -rn | head -" most " | sed 's/^\\([^|]*\\)|\\(.*\\)$/| \\1 % | \\2 |/'"
    for (key in sums) {
        if (sums[key] / all >= 0.0005) printf "%.1f|%s\n", 100 * sums[key] / all, mark key mark | command
    }
    close(command)
}

{
    count = $NF
    sub(/ [0-9]+$/, "")
    depth = split($0, frames, ";")
    by_owner[owner(frames[depth])] += count
    if (!(frames[1] in by_thread)) threads++
    by_thread[frames[1]] += count
    leaf = frames[depth]
    sub(/_\[k\]$/, "", leaf)
    by_function[leaf] += count
    call = ""
    for (at = 1; at < depth && call == ""; at++) {
        if (frames[at] ~ /^(do_syscall_64|invoke_syscall)_\[k\]$/) call = frames[at + 1]
    }
    # Some are reached by a jump, and then stand there as the function that does it.
    sub(/^(__(x64|arm64)_sys_|__?do_sys_|do_)/, "", call)
    sub(/_\[k\]$/, "", call)
    if (call != "") by_call[call] += count
}

END {
    if (threads > 1) {
        print "By thread:\n"
        print "| share | thread |\n|---|---|"
        print_table(by_thread, 6, "`")
        print ""
    }
    print "Whose function ran; what the compiler inlined counts as the caller's:\n"
    print "| share | whose |\n|---|---|"
    print_table(by_owner, 9, "")
    print "\nIn which system call, and all below it:\n"
    print "| share | call |\n|---|---|"
    print_table(by_call, 6, "`")
    print "\nMost samples by the function that ran:\n"
    print "| share | function |\n|---|---|"
    print_table(by_function, 15, "`")
}
