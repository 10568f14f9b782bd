/* What the examples in the docs presume to be there. */
CREATE TABLE orders (id integer PRIMARY KEY, state text, total numeric);
INSERT INTO orders VALUES (42, 'new', 9.90);
