// Print the audit stream. A JDK runs the file as it is; the class path needs kafka-clients 4 and slf4j-api.
//
// KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 java -cp "jars/*" examples/FollowAudit.java
//
// A real consumer keeps the position with its effect, and begins behind it after a restart.

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class FollowAudit {
    public static void main(String[] arguments) {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", System.getenv("KAFKA_BOOTSTRAP_SERVERS"),
            "enable.auto.commit", "false");
        TopicPartition topic = new TopicPartition("fileflux.audit", 0);
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings, bytes, bytes)) {
            consumer.assign(List.of(topic));
            consumer.seekToBeginning(List.of(topic));
            long position = 0;
            while (true) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    long found = Long.parseLong(header(record, "ce_position"));
                    if (found <= position) continue; // Published again.
                    if (found != position + 1) throw new IllegalStateException(found + " follows " + position);
                    position = found;
                    System.out.println(position + " " + header(record, "ce_type") + " " + header(record, "ce_source"));
                }
            }
        }
    }

    static String header(ConsumerRecord<byte[], byte[]> record, String name) {
        return new String(record.headers().lastHeader(name).value(), StandardCharsets.UTF_8);
    }
}
