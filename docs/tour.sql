-- The tour that `make run` shows: a model trained, tested and used inside PostgreSQL.

\echo '\n# 1. Rows in a plain table: 1,797 handwritten digits, each an image of 8 × 8 grey values.\n'
CREATE TABLE digits (id integer PRIMARY KEY, image real[] NOT NULL, digit smallint NOT NULL);
\copy digits FROM PROGRAM '"$PYTHON" docs/digits.py' WITH (FORMAT csv)

\echo '\n# 2. A data set: a version of these rows, split into train, validation and test. It stays as it is when the table changes.\n'
SELECT * FROM delc.create_dataset('digits', 'digits', target => 'digit', message => 'first look');

\echo '\n# 3. A convolutional network, trained on them in this very transaction. Its progress is also in the view delc.progress, for other sessions.\n'
SELECT * FROM delc.train('digits', 'digits', network => 'cnn', epochs => 15);

\echo '\n# 4. Tested on the fifth of the rows that it has never seen.\n'
SELECT metric, class, round(value::numeric, 4) AS value, round(low::numeric, 4) AS low, round(high::numeric, 4) AS high
FROM delc.evaluate('digits', 'digits')
WHERE class IS NULL AND metric <> 'confusion';

\echo '\n# 5. Used row by row …\n'
SELECT id, digit, delc.predict('digits', image) AS predicted, delc.predict_probability('digits', image, '3') AS is_a_3
FROM digits
WHERE id <= 5;

\echo '\n# … and by set: where is the model least certain?\n'
SELECT p.key::integer AS id, d.digit, p.label AS predicted, round(p.probability::numeric, 3) AS probability
FROM delc.predict_rows('digits', 'SELECT id, image FROM digits') AS p
JOIN digits AS d ON d.id = p.key::integer
ORDER BY p.probability
LIMIT 5;

\echo '\n# 6. An image drawn by hand is classified.\n'
SELECT delc.predict('digits', '{{0,0,10,16,16,10,0,0},
                                {0,0,16,8,8,16,0,0},
                                {0,0,0,0,0,16,0,0},
                                {0,0,0,0,8,14,0,0},
                                {0,0,0,8,16,4,0,0},
                                {0,0,8,16,4,0,0,0},
                                {0,0,16,10,8,8,4,0},
                                {0,0,16,16,16,16,12,0}}'::real[]) AS a_two_perhaps;

\echo '\n# 7. What the network sees as alike: neighbours in its embedding, by pgvector''s distance.\n'
SELECT a.id, b.id AS neighbour, a.digit, b.digit AS neighbours_digit
FROM (SELECT * FROM digits WHERE id = 7) AS a,
     LATERAL (SELECT * FROM digits WHERE id <> a.id
              ORDER BY delc.embed('digits', image) <-> delc.embed('digits', a.image) LIMIT 3) AS b;

\echo '\n# 8. Everything is logged: the runs …\n'
SELECT id, operation, subject, outcome, duration, round(cpu_seconds::numeric, 1) AS cpu_seconds FROM delc.runs ORDER BY id;

\echo '\n# … the learning curve …\n'
SELECT epoch, split, metric, round(value::numeric, 4) AS value
FROM delc.learning_curves
WHERE metric IN ('loss', 'accuracy') AND epoch % 5 = 0
ORDER BY epoch, metric, split;

\echo '\n# … the network, layer by layer …\n'
SELECT position, name, kind, output_shape, parameters FROM delc.layers ORDER BY position;

\echo '\n# … and the lineage: what was made of what, by which run.\n'
SELECT run_id, operation, source, source_split, result, username FROM delc.lineage ORDER BY run_id;
