"""The stages of a recipe, bound to artifacts: one file per stage.

Every function here reads artifacts (folders), calls the public function of a stage and returns its result (`results`: one type
per stage); the stage packages know nothing of recipes, stores and each other.
"""
