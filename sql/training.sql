-- Training

CREATE TYPE delc.training_result AS (
    run_id bigint,
    model text,
    task text,
    epochs integer,
    best_epoch integer,
    train_loss double precision,
    validation_loss double precision,
    metric text,
    validation_metric double precision,
    parameters bigint,
    seconds double precision
);
COMMENT ON TYPE delc.training_result IS
'What a training gave: the version it made (name@number), its losses after the best epoch, and the metric on the validation rows.';

CREATE FUNCTION delc.train(
    model text,
    dataset text,
    network text DEFAULT 'mlp',
    task text DEFAULT 'auto',
    features jsonb DEFAULT '{}',
    epochs integer DEFAULT 20,
    batch_size integer DEFAULT 64,
    learning_rate double precision DEFAULT 0.001,
    optimizer text DEFAULT 'adam',
    optimizer_arguments jsonb DEFAULT '{}',
    schedule text DEFAULT 'constant',
    loss text DEFAULT NULL,
    weight_decay double precision DEFAULT 0,
    class_weights text DEFAULT NULL,
    gradient_clip double precision DEFAULT NULL,
    early_stopping integer DEFAULT NULL,
    checkpoint_every integer DEFAULT NULL,
    seed bigint DEFAULT 0,
    threads integer DEFAULT NULL,
    device text DEFAULT 'auto',
    message text DEFAULT NULL,
    from_model text DEFAULT NULL,
    freeze text[] DEFAULT '{}',
    replace text[] DEFAULT '{}',
    keep_optimizer boolean DEFAULT false)
RETURNS delc.training_result
LANGUAGE plpython3u VOLATILE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("training.train", *args)
$$;
COMMENT ON FUNCTION delc.train(text, text, text, text, jsonb, integer, integer, double precision, text, jsonb, text, text, double precision, text, double precision, integer, integer, bigint, integer, text, text, text, text[], text[], boolean) IS
$comment$Trains a model on the training rows of a data set and stores it as a new version, in the caller's transaction.

model: its name; dataset: name or name@version, by default the latest. network: an architecture's name (linear, mlp, cnn, resnet_small, text_classifier, sequence_classifier) or JSON: {"architecture": "mlp", "hidden": [64]} or a list of layers (docs/layers.md). task: auto, classification, multilabel or regression. features: {"column": "kind"} or {"column": {"kind": …, …}}, and "*" for all columns; the option "missing" says what NULL and NaN become, without it they are errors. optimizer: sgd, adam, adamw, rmsprop, …; schedule and loss: a name or JSON with "name" and arguments. class_weights: balanced, or JSON {"label": weight}. gradient_clip: largest L2 norm of the gradients. early_stopping: epochs without a lower validation loss. checkpoint_every: epochs between stored snapshots. threads: NULL takes delc.threads. device: cpu, cuda, cuda:N or auto.

from_model: a version (name@7, name@alias, name@7#epoch) whose network, fitted features, target and weights training begins with; where the data set has other labels or outputs, the last layer gets fresh weights and their number. replace: layers, or patterns such as conv*, that get fresh weights as well. freeze: layers or patterns that stay as they are, running statistics of batch_norm included. keep_optimizer: stores with every snapshot, and with one after the last epoch, what resume_training() needs; this takes as much room as the weights once (sgd with momentum) or twice (adam) more.

The same seed, data set version, options and threads give the same parameters, bit for bit. Progress: notices, and the view delc.progress in other sessions.$comment$;

CREATE FUNCTION delc.resume_training(
    model text,
    epochs integer DEFAULT NULL,
    keep_optimizer boolean DEFAULT true,
    message text DEFAULT NULL)
RETURNS delc.training_result
LANGUAGE plpython3u VOLATILE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("training.resume_training", model, epochs, keep_optimizer, message)
$$;
COMMENT ON FUNCTION delc.resume_training(text, integer, boolean, text) IS
$comment$Goes on with a training after one of its snapshots, with the same data set version and options, and stores the next version of the model. model: name@7#epoch, name@7#latest, or name@7. epochs: how many there shall be, counted from the beginning of the training; by default as many as were planned. The training must have been run with keep_optimizer => true.

The parameters are those of a training that was never interrupted, bit for bit, with the same threads, device and delc.memory_limit.$comment$;
