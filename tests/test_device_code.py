"""The code of bundles is loaded by its path, as one package."""

from edgeopt.device_code import inference, inference_folder


def test_modules_of_the_package_share_their_classes() -> None:
    assert inference("pipeline").Placement is inference("decoding").Placement
    assert (inference_folder() / "__init__.py").is_file()
