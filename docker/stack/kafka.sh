# shellcheck shell=bash
# Apache Kafka (KRaft), one broker or several, each a controller as well. The jars come from Maven
# Central and are kept outside of the clone.

KAFKA_VERSION=4.1.1
KAFKA_JARS=${XDG_CACHE_HOME:-$HOME/.cache}/millpond/kafka-$KAFKA_VERSION
KAFKA_COPY=org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies
KAFKA_START_SECONDS=90
JAVA_MIN=17
# A small heap, and a collector without threads of its own: others need the cores.
KAFKA_JVM=(-Xms128m -Xmx512m -XX:+UseSerialGC -cp "$KAFKA_JARS/*"
    "-Dlog4j2.configurationFile=$PARTS/log4j2.properties")

java_is_new_enough() {
    local version
    version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
    ((${version:-0} >= JAVA_MIN))
}

kafka_install() {
    java_is_new_enough || packages "Java $JAVA_MIN" default-jre-headless
    if [[ -d $KAFKA_JARS ]]; then return; fi
    have mvn || packages Maven maven
    local fetched=$KAFKA_JARS.$$ log=$STACK_DIR/log/maven
    mkdir -p "$STACK_DIR/log" "$fetched"
    say "fetching Apache Kafka $KAFKA_VERSION from Maven Central …"
    mvn --batch-mode --strict-checksums --file "$PARTS/pom.xml" "$KAFKA_COPY" \
        -DincludeScope=runtime -DoutputDirectory="$fetched" >"$log" 2>&1 9>&- </dev/null || {
        rm -rf "$fetched"
        fail "maven cannot fetch Kafka"
    }
    # Whole or not at all; another clone may have been faster.
    mv -T "$fetched" "$KAFKA_JARS" 2>/dev/null || rm -rf "$fetched"
}

# How many brokers a stack has is settled by its first start.
kafka_brokers() {
    local file=$STACK_DIR/kafka/brokers
    if [[ ! -e $file ]]; then
        mkdir -p "$STACK_DIR/kafka"
        echo "${BROKERS:-1}" >"$file"
    elif [[ ${BROKERS:-$(<"$file")} != "$(<"$file")" ]]; then
        die "this stack has $(<"$file") broker(s), not $BROKERS: make down CLEAN=1 first"
    fi
    cat "$file"
}

# The names that a request for `kafka` or `kafka-N` means.
kafka_names() {
    case $1 in
        kafka) seq -f 'kafka-%.0f' "$(<"$STACK_DIR/kafka/brokers")" ;;
        *) echo "$1" ;;
    esac
}

# Once for all brokers: each must know the others' ports.
kafka_plan() {
    local home=$STACK_DIR/kafka brokers node
    brokers=$(kafka_brokers)
    if [[ -e $home/settled ]]; then return; fi
    for ((node = 1; node <= brokers; node++)); do
        mkdir -p "$home/kafka-$node"
        port "$home/kafka-$node/port"
        port "$home/kafka-$node/controller-port"
    done
    # As Kafka writes ids: 16 bytes in base64url; a leading dash would look like an option.
    echo "m$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 1-20)w" >"$home/cluster"
    for ((node = 1; node <= brokers; node++)); do
        kafka_properties $node "$brokers" >"$home/kafka-$node/server.properties"
        java "${KAFKA_JVM[@]}" kafka.tools.StorageTool format --cluster-id "$(<"$home/cluster")" \
            --config "$home/kafka-$node/server.properties" \
            >"$STACK_DIR/log/kafka-$node" 2>&1 9>&- || fail "kafka-$node cannot format its storage"
    done
    touch "$home/settled"
}

kafka_voters() {
    local node voters=()
    for ((node = 1; node <= $1; node++)); do
        voters+=("$node@127.0.0.1:$(<"$STACK_DIR/kafka/kafka-$node/controller-port")")
    done
    (IFS=,; echo "${voters[*]}")
}

# kafka_properties NODE BROKERS. Of what is not default: a dead broker is noticed in 3 s rather than
# 9, groups don't wait for members, and internal topics are small.
kafka_properties() {
    local home=$STACK_DIR/kafka/kafka-$1 replication=$(($2 < 3 ? $2 : 3))
    local address
    address=127.0.0.1:$(<"$home/port")
    cat <<PROPERTIES
process.roles=broker,controller
node.id=$1
controller.quorum.voters=$(kafka_voters "$2")
listeners=PLAINTEXT://$address,CONTROLLER://127.0.0.1:$(<"$home/controller-port")
advertised.listeners=PLAINTEXT://$address
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=$home/data
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
default.replication.factor=$replication
offsets.topic.replication.factor=$replication
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$replication
transaction.state.log.min.isr=$((replication > 1 ? 2 : 1))
share.coordinator.state.topic.replication.factor=$replication
share.coordinator.state.topic.min.isr=$((replication > 1 ? 2 : 1))
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=16777216
PROPERTIES
}

kafka_start() {
    local name home
    mkdir -p "$STACK_DIR/log"
    kafka_plan
    for name in $(kafka_names "$1"); do
        home=$STACK_DIR/kafka/$name
        [[ -d $home ]] || die "there is no $name"
        if runs "$name"; then continue; fi
        say "starting $name on port $(<"$home/port") …"
        launch "$name" java "${KAFKA_JVM[@]}" kafka.Kafka "$home/server.properties"
    done
}

kafka_wait() {
    local name
    for name in $(kafka_names "$1"); do
        await "$name" $KAFKA_START_SECONDS grep -q 'Kafka Server started' "$STACK_DIR/log/$name"
    done
}

kafka_env() {
    local name up='' addresses=()
    for name in $(kafka_names kafka); do
        if runs "$name"; then up=1; fi
        addresses+=("127.0.0.1:$(<"$STACK_DIR/kafka/$name/port")")
    done
    # A broker that is down belongs to the address of those that are up.
    if [[ -n $up ]]; then (IFS=,; echo "KAFKA_BROKERS=${addresses[*]}"); fi
}
