/*
 * ReadCloudEvents.java
 *	  Print the CloudEvents of topics as CloudEvents' SDK for Java reads them.
 *
 *	  java -cp 'libs/*' ReadCloudEvents.java HOST:PORT COUNT TOPIC ...
 *
 * The consumer uses the SDK's deserializer, as a service would.  One line of JSON
 * for each of the first COUNT records of a topic: topic, offset, key, mode, attributes (extensions
 * among them; the time in microseconds since 1970), and data in base64; or error.
 * Kafka's consumer asks no deserializer about a null value: such a record is given
 * to the SDK's reader, and its line has "tombstone".
 *
 * IDENTIFICATION
 *	  test/cloudevents/ReadCloudEvents.java
 */
import com.fasterxml.jackson.databind.ObjectMapper;
import io.cloudevents.CloudEvent;
import io.cloudevents.core.message.MessageReader;
import io.cloudevents.kafka.CloudEventDeserializer;
import io.cloudevents.kafka.KafkaMessageFactory;
import java.time.Duration;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RecordDeserializationException;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

public class ReadCloudEvents
{
	/* How long all records of a topic may take to be there, in milliseconds. */
	private static final long LIMIT = 60000;

	/* What the SDK says of a record: the event, and the mode that it was in. */
	record Read(String mode, CloudEvent event) {}

	public static class Reader implements Deserializer<Read>
	{
		private final CloudEventDeserializer sdk = new CloudEventDeserializer();

		@Override
		public Read deserialize(String topic, byte[] data)
		{
			throw new UnsupportedOperationException("a CloudEvent has headers");
		}

		@Override
		public Read deserialize(String topic, Headers headers, byte[] data)
		{
			return new Read(read(headers, data).mode(), sdk.deserialize(topic, headers, data));
		}
	}

	private static Read read(Headers headers, byte[] data)
	{
		MessageReader reader = KafkaMessageFactory.createReader(headers, data);

		return new Read(reader.getEncoding().name(), reader.toEvent());
	}

	private static Object attribute(Object value)
	{
		if (value instanceof OffsetDateTime time)
			return ChronoUnit.MICROS.between(Instant.EPOCH, time.toInstant());
		return value instanceof Number || value instanceof Boolean ? value : String.valueOf(value);
	}

	private static Map<String, Object> describe(ConsumerRecord<String, Read> record)
	{
		Map<String, Object> line = new LinkedHashMap<>();
		Map<String, Object> attributes = new TreeMap<>();
		boolean tombstone = record.value() == null;
		Read read = tombstone ? read(record.headers(), null) : record.value();
		CloudEvent event = read.event();

		for (String name : event.getAttributeNames())
		{
			if (event.getAttribute(name) != null)
				attributes.put(name, attribute(event.getAttribute(name)));
		}
		for (String name : event.getExtensionNames())
			attributes.put(name, attribute(event.getExtension(name)));
		line.put("topic", record.topic());
		line.put("offset", record.offset());
		line.put("key", record.key());
		line.put("mode", read.mode());
		line.put("tombstone", tombstone);
		line.put("attributes", attributes);
		line.put("data", event.getData() == null ? null :
				 Base64.getEncoder().encodeToString(event.getData().toBytes()));
		return line;
	}

	private static List<Map<String, Object>> read(String bootstrap, String topic, int count)
	{
		TopicPartition partition = new TopicPartition(topic, 0);
		long deadline = System.currentTimeMillis() + LIMIT;
		List<Map<String, Object>> lines = new ArrayList<>();
		Map<String, Object> config = Map.of(
			ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap,
			ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, StringDeserializer.class,
			ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, Reader.class);

		try (KafkaConsumer<String, Read> consumer = new KafkaConsumer<>(config))
		{
			consumer.assign(List.of(partition));
			consumer.seekToBeginning(List.of(partition));
			while (lines.size() < count && System.currentTimeMillis() < deadline)
			{
				try
				{
					for (ConsumerRecord<String, Read> record : consumer.poll(Duration.ofMillis(200)))
						lines.add(describe(record));
				}
				catch (RecordDeserializationException e)
				{
					lines.add(Map.of("topic", topic, "offset", e.offset(),
									 "error", String.valueOf(e.getCause())));
					consumer.seek(partition, e.offset() + 1);
				}
			}
		}
		return lines;
	}

	public static void main(String[] arguments) throws Exception
	{
		for (int i = 2; i < arguments.length; i++)
		{
			for (Map<String, Object> line : read(arguments[0], arguments[i], Integer.parseInt(arguments[1])))
				System.out.println(new ObjectMapper().writeValueAsString(line));
		}
	}
}
