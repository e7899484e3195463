"""@@NAME@@ over HTTP: @@TASK@@."""
