"""A provider as the entry of a runner's request."""

from edgeopt.graph.provider import Plugin, Provider


def test_a_session_has_provider_options_and_threads():
    assert Provider(options={"a": "1"}, threads=2).session() == {
        "provider": "CPUExecutionProvider",
        "options": {"a": "1"},
        "threads": 2,
    }


def test_a_plug_in_goes_with_it():
    plugin = Plugin(module="onnxruntime_qnn", name="QNN.virtual")
    assert Provider(plugin=plugin).session()["plugin"] == {"module": "onnxruntime_qnn", "name": "QNN.virtual"}
