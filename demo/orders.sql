--
-- orders.sql
--	  A small order service.  Each function changes its rows and says so to
--	  Kafka in the same transaction, with outbox_emit().
--
-- Products first, then the order: whoever needs both locks them in that order.
-- A row is locked before an event about it is emitted, so that the events of
-- one order (or product) are in Kafka in the order of its changes.
--
-- The table "audit" is the demo's witness and no part of the pattern: it is
-- written in the same transactions, and the consumers are held against it.
--
CREATE EXTENSION outbox;

CREATE TABLE product
(
	id			int PRIMARY KEY,
	price		numeric(10,2) NOT NULL,
	stock		int NOT NULL CHECK (stock >= 0),
	version		bigint NOT NULL DEFAULT 0
);

CREATE TABLE customer_order
(
	id			bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	customer	int NOT NULL,
	status		text NOT NULL CHECK (status IN ('placed', 'paid', 'cancelled')),
	total		numeric(10,2) NOT NULL DEFAULT 0,
	version		bigint NOT NULL DEFAULT 0
);

CREATE TABLE order_item
(
	order_id	bigint NOT NULL REFERENCES customer_order,
	product_id	int NOT NULL REFERENCES product,
	quantity	int NOT NULL CHECK (quantity > 0),
	PRIMARY KEY (order_id, product_id)
);

INSERT INTO product SELECT i, 5 + i % 40, 200 FROM generate_series(1, 100) i;

-- The number comes from a sequence, which a rollback does not take back: the
-- largest one tells how many events were emitted, the rows how many committed.
CREATE TABLE audit
(
	number		bigint GENERATED ALWAYS AS IDENTITY,
	uid			uuid NOT NULL,
	topic		text NOT NULL,
	key			text NOT NULL,
	version		bigint NOT NULL
);

-- Emit, with the caller's trace in the headers (https://www.w3.org/TR/trace-context/).
CREATE FUNCTION announce(topic text, event text, key text, version bigint, data jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	full_topic	text := coalesce(current_setting('shop.topic_prefix', true), '') || topic;
BEGIN
	INSERT INTO audit (uid, topic, key, version)
	SELECT outbox_emit(full_topic,
					   data || jsonb_build_object('event', event, 'version', version),
					   key,
					   headers => jsonb_strip_nulls(jsonb_build_object(
							'event', event,
							'traceparent', nullif(current_setting('shop.traceparent', true), '')))),
		   full_topic, key, version;
END $$;

-- Take stock for an order (quantity > 0) or put it back (quantity < 0).
CREATE FUNCTION move_stock(a_product int, a_quantity int, a_order bigint) RETURNS numeric
LANGUAGE plpgsql AS $$
DECLARE
	p	product;
BEGIN
	UPDATE product SET stock = stock - a_quantity, version = version + 1
	WHERE id = a_product RETURNING * INTO STRICT p;
	PERFORM announce('inventory', CASE WHEN a_quantity > 0 THEN 'stock.reserved' ELSE 'stock.returned' END,
					 'product-' || p.id, p.version,
					 jsonb_build_object('product', p.id, 'quantity', abs(a_quantity), 'left', p.stock, 'order', a_order));
	RETURN p.price * a_quantity;
END $$;

-- Say something about an order, whose row the caller has locked.
CREATE FUNCTION announce_order(topic text, event text, a_order bigint, data jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	o	customer_order;
BEGIN
	UPDATE customer_order SET version = version + 1 WHERE id = a_order RETURNING * INTO STRICT o;
	PERFORM announce(topic, event, 'order-' || o.id, o.version,
					 data || jsonb_build_object('order', o.id, 'customer', o.customer, 'total', o.total));
END $$;

-- Place an order for some products, one or more of each; returns its number.
-- Fails with check_violation when something is out of stock.
CREATE FUNCTION place_order(a_customer int, a_products int[]) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	new_order	bigint;
	item		record;
	amount		numeric := 0;
BEGIN
	INSERT INTO customer_order (customer, status) VALUES (a_customer, 'placed') RETURNING id INTO new_order;
	FOR item IN SELECT product, count(*)::int AS quantity FROM unnest(a_products) product GROUP BY 1 ORDER BY 1
	LOOP
		amount := amount + move_stock(item.product, item.quantity, new_order);
		INSERT INTO order_item VALUES (new_order, item.product, item.quantity);
	END LOOP;
	UPDATE customer_order SET total = amount WHERE id = new_order;
	PERFORM announce_order('orders', 'order.placed', new_order, '{}');
	RETURN new_order;
END $$;

-- Pay an order; false if that cannot be.  The card company is asked twice: the
-- event of a refused attempt goes with its savepoint.
CREATE FUNCTION pay_order(a_order bigint, a_refusals int DEFAULT 0) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM 1 FROM customer_order WHERE id = a_order AND status = 'placed' FOR UPDATE;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	FOR attempt IN 1 .. 2
	LOOP
		BEGIN
			PERFORM announce_order('payments', 'payment.captured', a_order, jsonb_build_object('attempt', attempt));
			IF attempt <= a_refusals THEN
				RAISE EXCEPTION 'card refused' USING ERRCODE = 'P0402';
			END IF;
			UPDATE customer_order SET status = 'paid' WHERE id = a_order;
			PERFORM announce_order('orders', 'order.paid', a_order, '{}');
			RETURN true;
		EXCEPTION WHEN SQLSTATE 'P0402' THEN
			NULL;
		END;
	END LOOP;
	PERFORM announce_order('payments', 'payment.refused', a_order, '{}');
	RETURN false;
END $$;

-- Cancel an order: put the stock back, and the money if it was paid.
CREATE FUNCTION cancel_order(a_order bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	old_status	text;
	item		order_item;
BEGIN
	-- its products first
	PERFORM 1 FROM product WHERE id IN (SELECT product_id FROM order_item WHERE order_id = a_order)
	ORDER BY id FOR UPDATE;
	SELECT status INTO old_status FROM customer_order
	WHERE id = a_order AND status <> 'cancelled' FOR UPDATE;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	FOR item IN SELECT * FROM order_item WHERE order_id = a_order ORDER BY product_id
	LOOP
		PERFORM move_stock(item.product_id, - item.quantity, a_order);
	END LOOP;
	UPDATE customer_order SET status = 'cancelled' WHERE id = a_order;
	PERFORM announce_order('orders', 'order.cancelled', a_order, '{}');
	IF old_status = 'paid' THEN
		PERFORM announce_order('payments', 'payment.returned', a_order, '{}');
	END IF;
	RETURN true;
END $$;
