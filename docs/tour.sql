-- The tour that `make run` shows.

-- Is everything there that the extension needs?
SELECT * FROM delc.check_environment();
