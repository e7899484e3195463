package org.json

class JSONArray {
    fun length(): Int = TODO()
    fun getJSONObject(index: Int): JSONObject = TODO()
    fun getDouble(index: Int): Double = TODO()
}

class JSONObject(private val text: String) {
    fun getString(name: String): String = TODO()
    fun getDouble(name: String): Double = TODO()
    fun getJSONArray(name: String): JSONArray = TODO()
    override fun toString(): String = text
}
